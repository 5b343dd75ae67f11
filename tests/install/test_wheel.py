"""The wheel, installed into an empty environment: what the checkout has, it has as well, and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest

from greenlight.install import shipped
from local.processes import Child, free_ports

from .conftest import ROOT

PYTHON_ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def build_wheel(source: Path, to: Path) -> Path:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-w",
            to,
            source,
        ],
        check=True,
        timeout=120,
    )
    (wheel,) = to.glob("*.whl")
    return wheel


def new_environment(directory: Path, wheel: Path) -> Path:
    """An environment with the wheel. What it depends on is this environment's; this checkout is not to be seen.

    (A path that a .pth file names is not searched for .pth files in turn, such as the one of the editable install.)
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, timeout=120)
    (site_packages,) = directory.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            f"--python={directory}/bin/python",
            "install",
            "--no-deps",
            "--no-index",
            wheel,
        ],
        check=True,
        timeout=120,
    )
    return directory / "bin/greenlight"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def greenlight(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_environment(tmp_path_factory.mktemp("environment") / "venv", wheel)


def run(program: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={**PYTHON_ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def new_project(directory: Path) -> Path:
    (directory / "supabase").mkdir(parents=True)
    (directory / "supabase/config.toml").write_text('project_id = "host"\n')
    return directory


def names(project: Path) -> list[str]:
    return [path.name[15:] for path in sorted((project / "supabase/migrations").glob("*.sql"))]


def test_it_holds_the_package_and_the_sql_and_nothing_else(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == {"greenlight"}
    assert [name for name in files if name.endswith((".sql", ".json"))] == [
        "greenlight/functions.sql",
        "greenlight/installed.json",
        *(f"greenlight/migrations/{migration}" for migration in shipped()),
        "greenlight/uninstall.sql",
    ]
    assert not any("test" in name or "__pycache__" in name for name in files)


def test_help_and_version(greenlight: Path, tmp_path: Path) -> None:
    result = run(greenlight, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for command in ("serve", "build", "retention", "install", "uninstall", "export", "doctor"):
        assert f"  {command} " in result.stdout
    assert (
        str(ROOT)
        not in run(
            greenlight.with_name("python"),
            "-c",
            "import greenlight; print(greenlight.__file__)",
            cwd=tmp_path,
        ).stdout
    )


def test_install_and_uninstall(greenlight: Path, tmp_path: Path) -> None:
    project = new_project(tmp_path)
    installed = run(greenlight, "install", cwd=project)
    assert installed.returncode == 0, installed.stderr
    assert names(project) == [migration.name for migration in shipped()]
    removed = run(greenlight, "uninstall", cwd=project)
    assert removed.returncode == 0, removed.stderr
    assert names(project)[-1] == "greenlight_uninstall.sql"


def test_serve(greenlight: Path, tmp_path: Path) -> None:
    """There is no Supabase behind it: it is up, and not ready."""
    port, nothing = free_ports(2)
    environment = {
        **PYTHON_ENVIRONMENT,
        "SUPABASE_URL": f"http://127.0.0.1:{nothing}",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
        "PORT": str(port),
    }
    service = Child("serve", [greenlight, "serve"], log=tmp_path / "log", env=environment, cwd=tmp_path)
    service.start()

    def up() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        service.wait_until(up)
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
    finally:
        service.stop()


@pytest.mark.parametrize(
    "command", [["retention"], ["build", "true"], ["export", f"--user={'0' * 8}-{'0000-' * 3}{'0' * 12}"]]
)
def test_the_commands_with_the_secret_key_say_that_it_is_missing(
    greenlight: Path, tmp_path: Path, command: list[str]
) -> None:
    result = run(greenlight, *command, cwd=tmp_path)
    assert result.returncode == 2
    assert "SUPABASE_SECRET_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_without_settings(greenlight: Path, tmp_path: Path) -> None:
    result = run(greenlight, "doctor", cwd=tmp_path)
    assert result.returncode == 1
    assert "\n      SUPABASE_URL is not set\n" in result.stdout


def test_a_wheel_with_one_more_migration_upgrades(greenlight: Path, tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    assert run(greenlight, "install", cwd=project).returncode == 0
    before = names(project)

    source = tmp_path / "source"
    for name in ("service", "supabase"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".temp"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    more = f"greenlight_{len(before) + 1:02}_more.sql"
    (source / f"supabase/migrations/20990101000000_{more}").write_text("select 1;\n")
    newer = new_environment(tmp_path / "venv", build_wheel(source, tmp_path / "dist"))

    assert run(newer, "install", "--check", cwd=project).returncode == 1
    assert run(newer, "install", cwd=project).returncode == 0
    assert names(project) == [*before, more]
    assert run(newer, "install", "--check", cwd=project).returncode == 0
    assert run(greenlight, "install", "--check", cwd=project).returncode == 1
