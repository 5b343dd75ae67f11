"""Supabase API keys: which role one stands for, and types for settings that hold one.

The web app has the same rule in `ui/lib/keys.js`. Both are tested with `tests/keys.json`.
"""

import json
import re
from typing import Annotated

from jwt.utils import base64url_decode
from pydantic import AfterValidator, SecretStr

_PUBLISHABLE = re.compile(r"sb_publishable_[\w-]+", re.ASCII)
_SECRET = re.compile(r"sb_secret_[\w-]+", re.ASCII)
_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+", re.ASCII)


def role_of(key: str) -> str | None:
    """Return the role that an API key stands for, or None if the key does not tell."""
    if _PUBLISHABLE.fullmatch(key):
        return "anon"
    if _SECRET.fullmatch(key):
        return "service_role"
    # The older keys are JWTs. Supabase verifies them; here it matters only which one was given.
    token = _JWT.fullmatch(key)
    try:
        claims = json.loads(base64url_decode(token[1])) if token else None
    except ValueError:
        return None
    role = claims.get("role") if isinstance(claims, dict) else None
    return role if isinstance(role, str) else None


def _publishable(key: str) -> str:
    role = role_of(key)
    if role == "service_role":
        raise ValueError(
            "holds a secret key; give the publishable one, because the service acts only as its users"
        )
    if role != "anon":
        raise ValueError("holds no publishable key: it begins with sb_publishable_, or is the older anon key")
    return key


def _secret(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("must be one line of printable ASCII")
    role = role_of(key)
    if role == "anon":
        raise ValueError("this is the publishable key; give the secret (service_role) one")
    if role not in {"service_role", None}:
        raise ValueError("holds a key of another role; give the secret (service_role) one")
    return secret


PublishableKey = Annotated[str, AfterValidator(_publishable)]
SecretKey = Annotated[SecretStr, AfterValidator(_secret)]
