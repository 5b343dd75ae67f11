"""Schemathesis reads the service's OpenAPI document and does its worst, with all of its checks."""

import os
import random
import subprocess
import sys
from pathlib import Path

from tests import SOAK
from tests.conftest import RunningStack
from tests.services import running_service

ROOT = Path(__file__).parents[2]


def test_schemathesis_finds_nothing(stack: RunningStack, tmp_path: Path, chance: random.Random) -> None:
    settings = {"SUPABASE_URL": stack.supabase_url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key}
    with running_service(tmp_path, **settings) as process:
        result = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "run", f"{process.url}/openapi.json"),
                *("--checks", "all"),
                *(("--max-time", "60") if SOAK else ("--max-examples", "15")),
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
    assert '"status": 500' not in process.lines()
