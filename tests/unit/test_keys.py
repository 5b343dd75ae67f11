"""Which role an API key stands for."""

import jwt
import pytest

from greenlight.keys import role_of


def legacy_key(role: str) -> str:
    return jwt.encode({"iss": "supabase", "role": role}, "a key of more than thirty-two bytes, for signing")


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("sb_publishable_abc", "anon"),
        ("sb_secret_abc", "service_role"),
        (legacy_key("anon"), "anon"),
        (legacy_key("service_role"), "service_role"),
        (legacy_key("authenticated"), "authenticated"),
        ("zebra", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_the_role_of_a_key(key: str, role: str | None) -> None:
    assert role_of(key) == role
