"""Settings of the service, read from the environment once, at start. See docs/configuration.md."""

import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from greenlight import MAX_DOCUMENT_BYTES
from greenlight.keys import PublishableKey

Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]


class SettingsError(Exception):
    """The environment is not usable; the message names each variable, and never its value."""


def _base_url(value: str) -> str:
    value = value.rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must start with https:// (or http://) and name a host")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be a plain address, without user, query or fragment")
    _ = parts.port  # raises ValueError if it is not a port
    return value


def _origin_only(value: str) -> str:
    if urlsplit(value).path:
        raise ValueError("must be scheme, host and port only, such as https://abc.supabase.co")
    return value


_HOST_NAME = re.compile(r"[a-z0-9._:-]{1,253}")


def host_name(host: str) -> str | None:
    """Return the name in a Host header, in lower case and without the port; None if there is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError if it is not a port
    except ValueError:
        return None
    name = parts.hostname or ""
    return name if parts.netloc == host and "@" not in host and _HOST_NAME.fullmatch(name) else None


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Origin = Annotated[BaseUrl, AfterValidator(_origin_only)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
AnySettings = TypeVar("AnySettings", bound=BaseSettings)

ENVIRONMENT = SettingsConfigDict(
    frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
)


class Settings(BaseSettings):
    model_config = ENVIRONMENT

    supabase_url: Origin
    supabase_publishable_key: PublishableKey
    supabase_jwt_secret: SecretStr | None = None  # when set, HS256 tokens are accepted as well
    supabase_jwt_issuer: str | None = None  # default: {SUPABASE_URL}/auth/v1

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    service_url: BaseUrl | None = None  # where planners reach this service
    ui_url: BaseUrl | None = None  # where people reach the web app
    mcp: bool = False
    allowed_hosts: Annotated[
        tuple[str, ...], NoDecode
    ] = ()  # of /mcp, besides SERVICE_URL's and loopback names
    metrics: bool = False
    log_level: LogLevel = "info"
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()

    max_document_bytes: Annotated[int, Field(ge=1, le=MAX_DOCUMENT_BYTES)] = MAX_DOCUMENT_BYTES
    signed_url_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3600

    upstream_timeout_seconds: Seconds = 10  # of one call to Supabase
    approval_timeout_seconds: Seconds = 30  # of all the calls of one request
    body_timeout_seconds: Seconds = 30  # how long a caller may take to send a request's body
    shutdown_grace_seconds: Annotated[int, Field(ge=1, le=600)] = 30

    @property
    def issuer(self) -> str:
        return self.supabase_jwt_issuer or f"{self.supabase_url}/auth/v1"

    @property
    def max_body_bytes(self) -> int:
        # JSON may escape every byte of the document as \u00XX, six for one; the rest is for the other fields.
        return 6 * self.max_document_bytes + 64 * 1024

    def review_url(self, session_id: str, owner_id: str | None = None) -> str | None:
        return review_url(self.ui_url, session_id, owner_id) if self.ui_url else None

    @field_validator("mcp")
    @classmethod
    def _reachable(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("service_url") is None:
            raise ValueError("needs SERVICE_URL, the address at which planners reach this service")
        return value

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must be at least 32 bytes long (RFC 7518, section 3.2)")
        return value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        hosts = [host.strip().lower() for host in value.split(",") if host.strip()]
        for host in hosts:
            if host_name(host) != host.strip("[]"):
                raise ValueError(
                    "must be host names such as greenlight.internal, separated by commas, without ports"
                )
        return [host.strip("[]") for host in hosts]

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        origins = [origin.strip() for origin in value.split(",") if origin.strip()]
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError("must be origins such as https://app.example.com, separated by commas")
        return origins


def review_url(ui_url: str, session_id: str, owner_id: str | None = None) -> str:
    """Return where the plan is reviewed. Approvers find a team's plan by its owner as well."""
    owner = f"&user={owner_id}" if owner_id else ""
    return f"{ui_url}/build?session={session_id}{owner}"


def load() -> Settings:
    """Read the service's settings as `read_settings` does."""
    return read_settings(Settings)


def read_settings(kind: type[AnySettings], **given: Any) -> AnySettings:
    """Read settings of this kind from the environment; those that are given come before it.

    Raises SettingsError, with a line for each variable that is missing or wrong.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"]).upper()
            why = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{name} is not set" if problem["type"] == "missing" else f"{name}: {why}")
        raise SettingsError("\n".join(lines)) from None
