"""Schemathesis reads the service's OpenAPI document and does its worst, with all of its checks."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests import SOAK
from tests.conftest import RunningStack
from tests.services import ServiceWith

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
def test_schemathesis_finds_nothing(
    stack: RunningStack, service_with: ServiceWith, tmp_path: Path, chance: random.Random
) -> None:
    process = service_with()
    result = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{process.url}/openapi.json"),
            *("--checks", "all"),
            *(("--max-time", "30") if SOAK else ("--max-examples", "15")),
            *("--seed", str(chance.randrange(2**32))),
            *("--header", f"Authorization: Bearer {stack.sign_up().token}"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.security.schemathesis_hooks",
        },
    )
    assert result.returncode == 0, result.stdout + result.stderr
    process.stop()  # its log is whole
    assert '"status": 500' not in process.lines()
