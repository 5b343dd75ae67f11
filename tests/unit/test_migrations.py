"""A released migration is never edited: adopters have a copy, and `greenlight install` would report a difference.

01 is the exception: it was corrected after 0.2.0, and EARLIER in greenlight.install has its checksum of then.
"""

from local.migration import MIGRATIONS, RELEASED
from tests.plan import sha256


def test_released_migrations_are_never_edited() -> None:
    found = "".join(f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(MIGRATIONS.iterdir()))
    assert found.startswith(RELEASED.read_text())
