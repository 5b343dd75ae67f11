"""Bearer token -> verified `User`, or `not_authenticated`.

Every token is verified here before it is sent on: signature, algorithm, `exp`, `nbf`, `aud`, `role`, `sub` and
`iss`. Nothing about a token is remembered between requests.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from greenlight import logs
from greenlight.errors import Problem, not_authenticated
from greenlight.settings import Settings

MAX_TOKEN_LENGTH = 16 * 1024
LEEWAY_SECONDS = 30
JWKS_TIMEOUT_SECONDS = 5
JWKS_MAX_AGE_SECONDS = 300  # older keys are fetched again, and used meanwhile
JWKS_COOLDOWN_SECONDS = 10  # at most one fetch in this time, however many unknown key ids come
EMPTY_COOLDOWN_SECONDS = 1  # without any key no token can be verified: ask again soon
# The algorithm follows from the key, never from the token: a token cannot choose how it is verified.
ALGORITHMS: dict[tuple[Any, Any], str] = {
    ("EC", "P-256"): "ES256",
    ("RSA", None): "RS256",
    ("OKP", "Ed25519"): "EdDSA",
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# PyJWT raises InvalidTokenError; claims of odd types and sizes cause the others.
_UNVERIFIABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class User:
    id: str  # canonical UUID, lower-case: the folder in the bucket
    token: str = field(repr=False)


class Authenticator:
    """Verifies access tokens against the project's published keys and, when set, its shared secret."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        secret = settings.supabase_jwt_secret
        self._secret = secret.get_secret_value() if secret else None
        self._issuer = settings.issuer
        self._issuer_may_be_absent = settings.supabase_jwt_issuer is None
        self.keys = Keys(settings, http)

    async def user(self, token: str | None) -> User:
        """Return the user whose token it is.

        Raises `not_authenticated`; `upstream_unavailable` when there is no key to verify it with.
        """
        if not token:
            raise not_authenticated(
                "This address needs an access token: Authorization: Bearer <token>.", token_given=False
            )
        if len(token) > MAX_TOKEN_LENGTH:
            raise not_authenticated("The access token is too long.")
        try:
            # Read only the header here; the payload is decoded once, at verification.
            header = jwt.get_unverified_header(token.partition(".")[0] + "..")
        except _UNVERIFIABLE:
            raise not_authenticated("The access token cannot be read.") from None
        try:
            claims = await self._claims(token, header)
        except jwt.ExpiredSignatureError:
            raise not_authenticated("The access token has expired.") from None
        except _UNVERIFIABLE:
            raise not_authenticated("The access token is not valid here.") from None
        subject = claims["sub"]
        if claims.get("role") != "authenticated" or not _UUID.fullmatch(subject):
            raise not_authenticated("The access token is not that of a signed-in user.")
        user = User(subject.lower(), token)
        logs.current().user_id = user.id
        return user

    async def _claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        if self._secret is not None and header.get("alg") == "HS256":
            # Older Supabase projects sign tokens with the shared secret and without an issuer.
            claims = _decode(token, self._secret, "HS256", issuer=None)
            if claims.get("iss", self._issuer if self._issuer_may_be_absent else None) != self._issuer:
                raise jwt.InvalidIssuerError
            return claims
        key_id = header.get("kid")
        key = await self.keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise jwt.InvalidKeyError
        return _decode(token, key.key, key.algorithm_name, issuer=self._issuer)


def _decode(token: str, key: Any, algorithm: str, *, issuer: str | None) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience="authenticated",
        issuer=issuer,
        leeway=LEEWAY_SECONDS,
        # Fresh tokens must pass even if our clock is slightly behind Supabase's. `nbf` is checked.
        options={"require": ["exp", "sub"], "verify_iat": False},
    )
    return claims


class Keys:
    """The project's signing keys (JWKS), fetched when needed and kept.

    A known key is returned at once, even while newer ones are being fetched or the fetch fails. There is at most
    one fetch at a time, and at most one begins within the cool-down, no matter what callers send.
    """

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._http = http
        self._url = f"{settings.supabase_url}/auth/v1/.well-known/jwks.json"
        self._headers = {"apikey": settings.supabase_publishable_key}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._attempted = float("-inf")
        self._failed = False
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key of this id, or None if the project has no such key.

        Raises `upstream_unavailable` if the keys cannot be fetched, so that it is not known.
        """
        key = self._keys.get(key_id)
        if key is None:
            refresh = self.refresh()
            if refresh is not None:
                # Shielded: others wait for the fetch, too, when this caller goes away.
                await asyncio.shield(refresh)
                key = self._keys.get(key_id)
            if key is None and self._failed:
                raise Problem(
                    "upstream_unavailable", "The keys to verify access tokens with cannot be fetched."
                )
        elif time.monotonic() - self._fetched > JWKS_MAX_AGE_SECONDS:
            self.refresh()
        return key

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def refresh(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, or begin one; None within the cool-down."""
        if self._refreshing is None or self._refreshing.done():
            cooldown = JWKS_COOLDOWN_SECONDS if self._keys else EMPTY_COOLDOWN_SECONDS
            if time.monotonic() - self._attempted < cooldown:
                return None
            self._attempted = time.monotonic()
            self._refreshing = asyncio.create_task(self._fetch())
        return self._refreshing

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(JWKS_TIMEOUT_SECONDS):
                response = await self._http.get(self._url, headers=self._headers)
            response.raise_for_status()
            keys = _usable(response.json()["keys"])
        except (httpx.HTTPError, TimeoutError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._failed = True
            logs.log.warning("signing keys not fetched", cause=logs.describe(error))
            return
        self._failed = False
        self._fetched = time.monotonic()
        if keys.keys() != self._keys.keys():
            logs.log.info("signing keys", ids=sorted(keys))
        self._keys = keys


def _usable(published: list[dict[str, Any]]) -> dict[str, jwt.PyJWK]:
    keys = {}
    for parameters in published:
        algorithm = ALGORITHMS.get((parameters.get("kty"), parameters.get("crv")))
        if (
            algorithm is not None
            and isinstance(parameters.get("kid"), str)
            and parameters.get("alg", algorithm) == algorithm
            and parameters.get("use", "sig") == "sig"
        ):
            try:
                keys[parameters["kid"]] = jwt.PyJWK(parameters, algorithm)
            except _UNVERIFIABLE as error:
                logs.log.warning("signing key not usable", cause=logs.describe(error))
    return keys
