"""Where no browser can be had, the tests of the web app are skipped and counted; in CI that is a failure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from local import ROOT

TEST = "tests/web/test_browser.py::test_with_a_browser"


def test_with_a_browser(browser: Browser) -> None:
    assert browser.is_connected()


@pytest.mark.parametrize(("ci", "summary"), [("false", r"1 skipped in"), ("true", r"1 error in")])
def test_without_a_browser(tmp_path: Path, ci: str, summary: str) -> None:
    variables = {
        **os.environ,
        "CI": ci,
        "PATH": str(tmp_path),
        "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--quiet", TEST]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, env=variables, cwd=ROOT, timeout=120
    )
    assert re.search(summary, result.stdout), result.stdout
