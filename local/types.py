"""Writes the database's types for the npm package, as the Supabase CLI generates them from a fresh database."""

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

from local import NODE, ROOT
from local.processes import LocalError, environment, free_ports
from local.stack import CLI, Settings, Stack

TYPES = ROOT / "client" / "database.d.ts"
PRETTIER = ROOT / "node_modules" / "prettier" / "bin" / "prettier.cjs"


def write() -> None:
    TYPES.write_text(_generate())


def check() -> None:
    """Compare the file with what the migrations give.

    Raises:
        LocalError: the file in the repository is out of date; the message shows how.

    """
    there, generated = (text.splitlines(keepends=True) for text in (TYPES.read_text(), _generate()))
    if there != generated:
        name = str(TYPES.relative_to(ROOT))
        changes = "".join(difflib.unified_diff(there, generated, name, "the migrations"))
        raise LocalError(f"{changes}\n{name} is out of date: run `make types`.")


def _generate() -> str:
    with tempfile.TemporaryDirectory() as directory:
        with Stack(Settings(Path(directory), *free_ports(4)), service=False) as stack:
            url = f"{stack.postgres.url()}?sslmode=disable"
            types = _output([NODE, CLI, "gen", "types", f"--remote={url}", "--schema=public"], directory)
        # A declaration file cannot have values, and the package has none for these: the lists of enums are empty.
        declarations = types.partition("export const Constants")[0]
        return _output([NODE, PRETTIER, "--stdin-filepath", TYPES], directory, declarations)


def _output(command: list[str | Path], home: str, text: str | None = None) -> str:
    result = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        input=text,
        cwd=ROOT,
        env=environment(HOME=home),
    )
    if result.returncode != 0:
        raise LocalError(f"{' '.join(map(str, command[1:3]))} failed:\n{result.stderr}")
    return result.stdout


if __name__ == "__main__":
    try:
        check() if "--check" in sys.argv else write()
    except LocalError as error:
        sys.exit(str(error))
