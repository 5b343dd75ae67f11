"""The example builder: which steps it finds, what it prints, and `make demo`, which runs it."""

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from greenlight.builder.command import command
from local import ROOT
from local.processes import free_ports
from tests.builder.conftest import Reports, new_job

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


async def built(place: Path, document: str, **others: Any) -> tuple[Any, Reports, str]:
    """Run the example as a build, and return its result, what it reported, and the page."""
    job, reports = new_job(document.encode(), **others)
    script = (
        f"import runpy; m = runpy.run_path({str(PATH)!r}); m['main'].__globals__['SECONDS'] = 0; m['main']()"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PAGES_DIRECTORY": str(place),
        "PAGES_URL": "https://pages.example",
    }
    with command([sys.executable, "-c", script], environment, share_log=True) as build:
        result: Any = await build(job)
    (page,) = place.iterdir()
    assert result["url"] == f"https://pages.example/{job.build_id}-1.html"
    assert result["url"].endswith(f"/{page.name}")
    return result, reports, page.read_bytes().decode()


@pytest.mark.anyio
async def test_it_reports_each_step_and_makes_a_page_of_the_plan(tmp_path: Path) -> None:
    document = "# Out \r\n- [ ] Walk \x1b[2J\r\n- [ ] Run ☕\n"
    result, reports, page = await built(tmp_path, document, title="Café", comment="Slowly.")
    assert reports.all == [(0, "Walk"), (50, "Run ☕"), (100, "The page is there.")]
    assert result["summary"] == "A page with the plan and its steps, 2 of them."
    assert "<title>Café</title>" in page
    assert "<blockquote>Slowly.</blockquote>" in page
    assert "<li>Run ☕</li></ul>" in page
    assert f"<pre>{document}</pre>" in page
    assert reports.log.take() == "\x1b[32m✓\x1b[0m Walk [2J\n\x1b[32m✓\x1b[0m Run ☕\n"


@pytest.mark.anyio
async def test_nothing_that_a_planner_or_a_human_wrote_is_html(tmp_path: Path) -> None:
    attack = "</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>\" & '"
    _, _, page = await built(tmp_path, f"- [ ] {attack}\n", title=attack, comment=attack)
    assert page.count(html.escape(attack)) == 5
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in page


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
    names = (
        *("API_PORT", "POSTGRES_PORT", "SERVICE_PORT", "UI_PORT"),
        *("PAGES_PORT", "MAIL_PORT", "SMTP_PORT"),
    )
    ports = {name: str(port) for name, port in zip(names, free_ports(7), strict=True)}
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
    assert "Ada gets a mail: Please decide: Long" in output
    assert "1,048,576 bytes, exactly the same" in output
    assert "The agent is active, at attempt 1" in output
    assert re.search(rf"address http://127.0.0.1:{ports['PAGES_PORT']}/[0-9a-f-]+-1\.html\n", output)
    left = [
        each
        for each in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(each.info["cmdline"] or [])
    ]
    assert left == []
