"""Supabase API keys: which role one stands for, and types for settings that hold one."""

from typing import Annotated

import jwt
from pydantic import AfterValidator, SecretStr


def role_of(key: str) -> str | None:
    """Return the role that an API key stands for, or None if the key does not tell."""
    if key.startswith("sb_publishable_"):
        return "anon"
    if key.startswith("sb_secret_"):
        return "service_role"
    try:
        # The older keys are JWTs. Supabase verifies them; here it matters only which one was given.
        return str(jwt.decode(key, options={"verify_signature": False}).get("role"))
    except jwt.InvalidTokenError:
        return None


def _one_line(key: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("must be one line of printable ASCII")


def _publishable(key: str) -> str:
    _one_line(key)
    role = role_of(key)
    if role == "service_role":
        raise ValueError(
            "holds a secret key; give the publishable one, because the service acts only as its users"
        )
    if role is None and key.count(".") == 2:
        raise ValueError("looks like a JWT but cannot be read as one")
    if role not in {"anon", None}:
        raise ValueError("holds a key of another role than anon; give the publishable (anon) one")
    return key


def _secret(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value()
    _one_line(key)
    role = role_of(key)
    if role == "anon":
        raise ValueError("this is the publishable key; give the secret (service_role) one")
    if role not in {"service_role", None}:
        raise ValueError("holds a key of another role; give the secret (service_role) one")
    return secret


PublishableKey = Annotated[str, AfterValidator(_publishable)]
SecretKey = Annotated[SecretStr, AfterValidator(_secret)]
