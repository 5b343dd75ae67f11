"""The app's own arithmetic, in Node and without a browser."""

import re
import subprocess
from pathlib import Path

from local import NODE


def test_units() -> None:
    result = subprocess.run(
        [
            NODE,
            "--import",
            Path(__file__).with_name("resolve.mjs").as_uri(),
            "--test",
            "--test-reporter=tap",
            Path(__file__).with_name("units.test.ts"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    # That it ran anything.
    assert "not ok" not in result.stdout
    assert re.search(r"^# pass [1-9]\d", result.stdout, re.MULTILINE)
