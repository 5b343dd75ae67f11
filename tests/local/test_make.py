"""What make installs for which command, and what it says when it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local import ROOT


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a directory in which nothing is installed yet."""
    for name in ("Makefile", "package-lock.json", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    for tests in ("install", "mcp"):
        (directory / "tests" / tests).mkdir(parents=True)
        shutil.copy(ROOT / "tests" / tests / "package-lock.json", directory / "tests" / tests)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], check=False, capture_output=True, text=True, env=env, cwd=directory, timeout=60
    )


@pytest.mark.parametrize(
    ("command", "needs_them"),
    [("demo", False), ("up", False), ("check", False), ("setup", True), ("test", True), ("soak", True)],
)
def test_only_tests_need_their_own_packages(tmp_path: Path, command: str, needs_them: bool) -> None:
    planned = make(tmp_path, "--dry-run", command)
    assert planned.returncode == 0, planned.stderr
    assert "npm ci --loglevel" in planned.stdout
    for tests in ("install", "mcp"):
        assert (f"npm ci --prefix tests/{tests}" in planned.stdout) == needs_them


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = make(tmp_path, "setup", "PYTHON=python3.99")
    assert refused.returncode == 2
    assert "There is no python3.99." in refused.stderr
    assert "not found" not in refused.stderr
