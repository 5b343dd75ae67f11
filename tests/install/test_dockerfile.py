"""The steps of the Dockerfile, without Docker: its files, its commands and its health check, in a directory of our own.

What this cannot show: that the base image is there, and that the image runs as its user. The locked packages are
installed, hashes checked, when SOAK is set; else those of this environment stand in for them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx

from local.processes import Child, free_ports

from .conftest import ROOT

INSTRUCTIONS = [
    (match[1], match[2])
    for match in re.finditer(
        r"^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text().replace("\\\n", ""), re.MULTILINE
    )
]
IGNORED = (ROOT / ".dockerignore").read_text().split()


def only(name: str) -> str:
    (value,) = [value for instruction, value in INSTRUCTIONS if instruction == name]
    return value


def is_sent(path: Path) -> bool:
    """Whether .dockerignore, which leaves everything out but a few, lets this path into the build."""
    return (
        any(str(path).startswith(pattern[1:]) for pattern in IGNORED if pattern.startswith("!"))
        and "__pycache__" not in path.parts
    )


def test_the_build_gets_what_it_copies_and_nothing_private() -> None:
    assert IGNORED[0] == "*"
    for instruction, value in INSTRUCTIONS:
        if instruction == "COPY":
            for source in value.split()[:-1]:
                assert (ROOT / source).exists()
                assert is_sent(Path(source))
    for name in (".local/env", ".env", ".git/config", "ui/.env.local", "tests/conftest.py"):
        assert not is_sent(Path(name))


def test_every_locked_package_has_a_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    packages = [line for line in lock.splitlines() if re.match(r"\w", line)]
    assert len(packages) > 20
    assert [line for line in packages if "--hash=sha256:" not in line] == []
    (install,) = [
        value for instruction, value in INSTRUCTIONS if instruction == "RUN" and "pip install" in value
    ]
    assert "--require-hashes" in install


def test_the_workflows_name_each_action_by_its_commit() -> None:
    workflows = list((ROOT / ".github" / "workflows").glob("*.y*ml"))
    used = [use for path in workflows for use in re.findall(r"uses:\s*(.*)", path.read_text())]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", use)] == []


def test_it_is_slim_and_does_not_run_as_root() -> None:
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", only("FROM"))
    assert int(only("USER").split(":")[0]) > 0
    after = [instruction for instruction, _ in INSTRUCTIONS][[i for i, _ in INSTRUCTIONS].index("USER") :]
    assert not {"RUN", "COPY"} & set(after)


def test_its_steps_build_a_service_that_is_healthy(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    venv = tmp_path / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", *([] if "SOAK" in os.environ else ["--without-pip"]), venv], check=True
    )
    environment = {"PATH": f"{venv}/bin:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for instruction, value in INSTRUCTIONS:
        match instruction:
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in value.replace("/app", str(app)).split())
                environment |= pairs
            case "COPY":
                *sources, target = value.split()
                for source in sources:
                    copy(ROOT / source, app / target)
            case "RUN" if value.startswith("pip install") and "SOAK" not in os.environ:
                (site_packages,) = venv.glob("lib/python*/site-packages")
                (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
            case "RUN":
                subprocess.run(["sh", "-c", value], check=True, cwd=app, env=environment, timeout=600)
            case _:
                pass

    port, nothing = free_ports(2)
    environment |= {
        "PORT": str(port),
        "SUPABASE_URL": f"http://127.0.0.1:{nothing}",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    }
    health = json.loads(only("HEALTHCHECK").removeprefix("CMD "))

    def healthy() -> bool:
        return (
            subprocess.run(health, check=False, capture_output=True, env=environment, cwd=app).returncode == 0
        )

    assert not healthy()
    command = json.loads(only("ENTRYPOINT")) + json.loads(only("CMD"))
    service = Child(
        "image", [str(venv / "bin/python"), *command[1:]], log=tmp_path / "log", env=environment, cwd=app
    )
    service.start()
    try:
        service.wait_until(healthy)
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
        installed = subprocess.run(
            [*command[:-1], "install", "--dry-run", "--project", ROOT],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=app,
        )
        assert "up to date" in installed.stdout, installed.stderr
    finally:
        service.stop()


def copy(source: Path, target: Path) -> None:
    """As COPY does it: the contents of a directory, or a file."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
