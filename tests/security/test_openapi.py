"""Schemathesis reads the service's OpenAPI document and does its worst, with all of its checks."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunningStack
from tests.faults.conftest import SOAK
from tests.service.conftest import running_service


@pytest.mark.parametrize("signed_in", [True, False])
def test_schemathesis_finds_nothing(
    stack: RunningStack, tmp_path: Path, signed_in: bool, chance: random.Random
) -> None:
    settings = {"SUPABASE_URL": stack.supabase_url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key}
    token = ["--header", f"Authorization: Bearer {stack.sign_up().token}"] if signed_in else []
    # A caller without a token is told nothing about the rest of the request.
    excluded = [] if signed_in else ["--exclude-checks", "positive_data_acceptance,negative_data_rejection"]
    with running_service(tmp_path, **settings) as process:
        result = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "run", f"{process.url}/openapi.json"),
                *("--checks", "all", *excluded),
                *("--max-examples", "400" if SOAK else "20"),
                *("--max-time", "60" if SOAK else "20"),
                *("--seed", str(chance.randrange(2**32))),
                *token,
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "500" not in {line for line in process.lines().splitlines() if '"status": 500' in line}
