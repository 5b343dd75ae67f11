"""The Postgres that these tests share, among several runs at the same time."""

import subprocess
import sys

from mirakuru.base import ENV_UUID

from local.processes import environment
from tests.database.conftest import ROOT


def test_a_run_that_ends_leaves_the_servers_of_others_alone() -> None:
    run = "import mirakuru, os, tests.conftest; print(os.getpid(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as ending:
        assert ending.stdout is not None
        number = ending.stdout.readline().strip()
        with subprocess.Popen(["sleep", "600"], env=environment(**{ENV_UUID: f"1{number}:a"})) as other:
            try:
                ending.communicate("\n", timeout=60)
                assert ending.returncode == 0
                assert other.poll() is None
            finally:
                other.kill()
