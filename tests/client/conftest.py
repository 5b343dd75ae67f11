"""The runtimes in which the package is used."""

from collections.abc import Callable
from pathlib import Path

import pytest

from local import NODE
from tests.client.package import Run, output
from tests.conftest import RunningStack


@pytest.fixture
def node(stack: RunningStack, project: Path) -> Run:
    """Run a file of the project in Node.js, against the stack."""
    return _runner(stack, project, NODE)


@pytest.fixture
def deno(stack: RunningStack, project: Path, deno_command: list[str | Path]) -> Run:
    """Run a file of the project in Deno, against the stack."""
    return _runner(stack, project, *deno_command)


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
