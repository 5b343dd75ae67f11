"""Which role an API key stands for: the same table as the web app's, and which setting takes which key."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from greenlight.keys import PublishableKey, SecretKey, role_of

KEYS = json.loads(Path(__file__).parent.with_name("keys.json").read_text(encoding="utf-8"))


def accepts(setting: Any, key: str) -> bool:
    try:
        TypeAdapter(setting).validate_python(key)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("row", KEYS, ids=[row["what"] for row in KEYS])
def test_the_role_of_a_key(row: dict[str, str | None]) -> None:
    key, role = str(row["key"]), row["role"]
    assert role_of(key) == role
    assert accepts(PublishableKey, key) == (role == "anon")
    # The secret key is not published, so one that does not tell its role may be given.
    if role is not None:
        assert accepts(SecretKey, key) == (role == "service_role")
