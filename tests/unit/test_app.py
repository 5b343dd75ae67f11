"""What the service loads: neither the commands with the secret key, nor what they need."""

import subprocess
import sys

import pytest

LOADED = """
import sys
from greenlight.app import create_app
from greenlight.settings import Settings
create_app(Settings(supabase_url="https://abc.supabase.co", supabase_publishable_key="sb_publishable_x"))
import greenlight.serve
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, env={}
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "module", ["greenlight.admin", "greenlight.retention", "greenlight.builder", "greenlight.install"]
)
def test_the_service_never_loads_what_holds_the_secret_key(loaded: set[str], module: str) -> None:
    assert "greenlight.routes" in loaded
    assert not {name for name in loaded if name == module or name.startswith(f"{module}.")}


@pytest.mark.parametrize("module", ["typer", "mcp", "supabase"])
def test_the_service_does_not_load_what_only_other_commands_need(loaded: set[str], module: str) -> None:
    assert module not in loaded
