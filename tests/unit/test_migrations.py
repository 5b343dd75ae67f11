"""A released migration is never edited: adopters have a copy, and `greenlight install` would report a difference."""

from local import ROOT
from tests.plan import sha256

MIGRATIONS = ROOT / "supabase/migrations"

# Run `sha256sum *` in that directory. Only add lines.
RELEASED = """\
d2b8e2178aaa7fa933b0c43819f3a576c559fdf021a6ae783b88460d40dd7d27  20261122000100_greenlight_01_refuse_taken_names.sql
a6ac15fbaacd451ddbe4feaa239e31b19ce2b9b7bb28ed88299cfc7647fecf55  20261122000200_greenlight_02_tables.sql
2363a7d6d8f2fcbecbd9e0e716989e546b449536733f261aec7d1eb036a66562  20261122000300_greenlight_03_access.sql
dfd89af0da7b6f12e001cbb0fae9bb4a69b7f137cbd70175131d7110091c76fc  20261122000400_greenlight_04_documents.sql
f44be6d0ad52adc5314abc187a7c479d68cdf028e488920fceb84f5f3ef0f7cd  20261122000500_greenlight_05_functions.sql
6d942bd37afefb280bced5b48fd3a5eea62b94eb4fa88cb71d0578bf2e92f25c  20261122000600_greenlight_06_triggers.sql
"""


def test_released_migrations_are_never_edited() -> None:
    found = "".join(f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(MIGRATIONS.iterdir()))
    assert found == RELEASED
