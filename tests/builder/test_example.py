"""The example builder: which steps it finds, what it prints, and `make demo`, which runs it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from greenlight.builder.command import command
from local import ROOT
from local.processes import free_ports
from tests.builder.conftest import new_job

PATH = ROOT / "examples" / "builder.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("example_builder", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("plan", "steps"),
    [
        ("# Plan\n\n1. Look\n2) Leap\n\n- [ ] Walk\n* [x] Run \n", ["Walk", "Run"]),
        ("# Plan\r\n\r\n1. Look\r\n2) Leap\r\n", ["Look", "Leap"]),
        ("# Plan\n\n## How\n\nSlowly.\n", ["Plan", "How"]),
        ("Only words.\n", ["The whole plan"]),
        ("", ["The whole plan"]),
    ],
)
def test_the_steps_of_a_plan(example: ModuleType, plan: str, steps: list[str]) -> None:
    assert example.steps(plan) == steps


def test_the_example_plan_has_its_four_tasks(example: ModuleType) -> None:
    plan = (ROOT / "docs" / "example-plan.md").read_text()
    assert len(example.steps(plan)) == 4


@pytest.mark.anyio
async def test_it_reports_each_step_and_says_that_it_builds_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job, reports = new_job(b"- [ ] Walk\n- [ ] Run\n")
    script = (
        f"import runpy; m = runpy.run_path({str(PATH)!r}); m['main'].__globals__['SECONDS'] = 0; m['main']()"
    )
    with command([sys.executable, "-c", script], {"PATH": os.environ["PATH"]}) as build:
        await build(job)
    assert reports.all == [
        (0, "Walk"),
        (50, "Run"),
        (100, "Done. This was the example builder: it builds nothing."),
    ]
    assert b"It builds nothing." in capfdbinary.readouterr().err


@pytest.mark.parametrize(
    ("size", "why"), [(0, "is empty"), (1_048_577, "has 1,048,577 bytes; a plan has at most 1,048,576")]
)
def test_the_demo_refuses_what_cannot_be_a_plan_before_it_starts(tmp_path: Path, size: int, why: str) -> None:
    plan = tmp_path / "plan.md"
    plan.write_bytes(b"x" * size)
    result = subprocess.run(
        [sys.executable, "-m", "local", "demo"],
        env={**os.environ, "PLAN": str(plan), "LOCAL_DIR": str(tmp_path / "local")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"{plan} {why}\n")


def test_the_demo_with_a_document_of_ones_own(tmp_path: Path) -> None:
    """1 MiB, the most that a document may have, with a title that has to be cut and cleaned."""
    document = ("# \x07Long \u2028" + "title" * 200 + "\n" + "- [ ] one more step\n" * 60_000)[:1_048_574]
    plan = tmp_path / "my plan \udcff.md"
    plan.write_text(document)
    names = ("API_PORT", "POSTGRES_PORT", "SERVICE_PORT", "UI_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(4), strict=True)}
    result = subprocess.run(
        [sys.executable, "-m", "local", "demo"],
        env={**os.environ, **ports, "PLAN": os.fsdecode(plan), "LOCAL_DIR": str(tmp_path / "local")},
        cwd=ROOT,
        capture_output=True,
        timeout=180,
        check=False,
    )
    output = (result.stdout + result.stderr).decode(errors="replace")
    assert result.returncode == 0, output
    assert "1,048,576 bytes, exactly the same" in output
    assert "The agent is active, at attempt 1" in output
    left = [
        each
        for each in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(each.info["cmdline"] or [])
    ]
    assert left == []
