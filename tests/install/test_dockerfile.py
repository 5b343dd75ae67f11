"""The steps of the Dockerfile, without Docker: its files, its commands and its health check, in a directory of our own.

What this cannot show: that the base image is there, and that the image runs as its user. The locked packages are
installed, hashes checked, when SOAK is set; else those of this environment stand in for them.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local.processes import Child, free_ports
from tests import SOAK

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


@dataclass(frozen=True)
class Image:
    """What the steps of the Dockerfile leave behind."""

    app: Path
    python: str
    environment: dict[str, str]

    def container(self, directory: Path, *command: str, **variables: str) -> Child:
        """Return a container that runs a command of the image."""
        _, *entrypoint = json.loads(only("ENTRYPOINT"))
        return Child(
            "container",
            [self.python, *entrypoint, *command],
            log=directory / "log",
            env={**self.environment, **variables},
            cwd=self.app,
        )

    def is_healthy(self, container: Child, **variables: str) -> bool:
        """Run the health check, which in a container asks process 1."""
        check = json.loads(only("HEALTHCHECK").removeprefix("CMD "))
        result = subprocess.run(
            [*check, str(container.pid)],
            check=False,
            capture_output=True,
            env={**self.environment, **variables},
            cwd=self.app,
        )
        return result.returncode == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("image")
    app, venv = directory / "app", directory / "venv"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", *([] if SOAK else ["--without-pip"]), venv], check=True)
    environment = {"PATH": f"{venv}/bin:{os.environ['PATH']}", "HOME": str(directory)}
    for instruction, value in INSTRUCTIONS:
        match instruction:
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in value.replace("/app", str(app)).split())
                environment |= pairs
            case "COPY":
                *sources, target = value.split()
                for source in sources:
                    copy(ROOT / source, app / target)
            case "RUN" if value.startswith("pip install") and not SOAK:
                (site_packages,) = venv.glob("lib/python*/site-packages")
                (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
            case "RUN":
                subprocess.run(["sh", "-c", value], check=True, cwd=app, env=environment, timeout=600)
            case _:
                pass
    (nothing,) = free_ports(1)
    environment["SUPABASE_URL"] = f"http://127.0.0.1:{nothing}"
    return Image(app, str(venv / "bin/python"), environment)


def test_the_service_in_it_is_healthy_when_it_answers(image: Image, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    # A proxy that a platform sets is not asked for the container itself.
    variables = {"PORT": str(port), "http_proxy": image.environment["SUPABASE_URL"]}
    service = image.container(
        tmp_path, *json.loads(only("CMD")), SUPABASE_PUBLISHABLE_KEY="sb_publishable_x", **variables
    )
    service.start()
    try:
        service.wait_until(lambda: image.is_healthy(service, **variables))
        assert not image.is_healthy(service)  # nothing answers at the default port
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
    finally:
        service.stop()


def test_a_builder_in_it_is_healthy_while_it_can_work(image: Image, tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    builder = image.container(tmp_path, "build", "true", TMPDIR=str(place), SUPABASE_SECRET_KEY="sb_secret_x")
    builder.start()
    try:
        builder.wait_until(lambda: image.is_healthy(builder, TMPDIR=str(place)))
        (note,) = place.glob("*/ready")
        builder.send(signal.SIGSTOP)  # it hangs
        os.utime(note, (0, 0))  # its note is old
        assert not image.is_healthy(builder, TMPDIR=str(place))
    finally:
        builder.kill()


def test_its_other_commands_work(image: Image, tmp_path: Path) -> None:
    installed = subprocess.run(
        [image.python, *json.loads(only("ENTRYPOINT"))[1:], "install", "--dry-run", "--project", ROOT],
        check=False,
        capture_output=True,
        text=True,
        env=image.environment,
        cwd=image.app,
    )
    assert "up to date" in installed.stdout, installed.stderr


def copy(source: Path, target: Path) -> None:
    """As COPY does it: the contents of a directory, or a file."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
