"""A released migration is never edited: adopters have a copy, and `greenlight install` would report a difference."""

from local.migration import MIGRATIONS, RELEASED
from tests.plan import sha256


def test_released_migrations_are_never_edited() -> None:
    found = "".join(f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(MIGRATIONS.iterdir()))
    assert found.startswith(RELEASED.read_text())
