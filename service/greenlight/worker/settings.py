"""What a builder needs to know of its surroundings, read from the environment."""

from typing import Any, Literal

import jwt
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from greenlight.settings import Origin


class BuilderSettings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    supabase_url: Origin
    supabase_secret_key: SecretStr
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("supabase_secret_key")
    @classmethod
    def _secret(cls, secret: SecretStr) -> SecretStr:
        key = secret.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("must be one line of printable ASCII")
        try:
            role = jwt.decode(key, options={"verify_signature": False}).get("role")
        except jwt.InvalidTokenError:  # not one of the older keys, which are tokens
            role = "anon" if key.startswith("sb_publishable_") else "service_role"
        if role != "service_role":
            raise ValueError("holds a key of another role; give the secret (service_role) one")
        return secret
