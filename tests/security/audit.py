"""`make audit`: ask for known vulnerabilities in what is locked, and say plainly when that is unknown."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = [
    "pip-audit",
    "--requirement",
    "requirements.lock",
    "--disable-pip",
    "--require-hashes",
    "--format=json",
]
NODE = ["npm", "audit", "--omit=dev", "--json"]


def ask(command: list[str]) -> Any:
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        return {"error": (result.stderr or "no answer").strip().splitlines()[-1]}


def python() -> tuple[list[str], str | None]:
    """Return what was found, and why that is not everything."""
    report = ask(PYTHON)
    if "dependencies" not in report:
        return [], str(report.get("error"))
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}"
        for package in packages
        for flaw in package.get("vulns", [])
    ]
    return found, f"{len(skipped)} of {len(packages)} packages are unknown there" if skipped else None


def node() -> tuple[list[str], str | None]:
    report = ask(NODE)
    if "vulnerabilities" not in report:
        return [], str(report.get("error") or report.get("message") or "no answer")
    return [f"{name}: {flaw['severity']}" for name, flaw in report["vulnerabilities"].items()], None


def main() -> None:
    everything = []
    for name, audit in (("Python", python), ("Node", node)):
        found, gap = audit()
        everything += found
        if gap is not None:
            print(f"{name}: NOT AUDITED, the advisory data cannot be had here ({gap})")  # noqa: T201
        elif not found:
            print(f"{name}: no known vulnerability")  # noqa: T201
        for flaw in found:
            print(f"{name}: {flaw}")  # noqa: T201
    sys.exit(1 if everything else 0)


if __name__ == "__main__":
    main()
