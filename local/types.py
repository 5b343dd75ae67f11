"""Writes what a fresh database has: its types for the npm package, as the Supabase CLI generates them, and our objects.

`greenlight doctor` compares a project with the latter.
"""

import difflib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from local import NODE, ROOT
from local.processes import LocalError, environment, free_ports
from local.stack import CLI, Settings, Stack

TYPES = ROOT / "client" / "src" / "database.ts"
INSTALLED = ROOT / "supabase" / "installed.json"
PRETTIER = ROOT / "node_modules" / "prettier" / "bin" / "prettier.cjs"


def write() -> None:
    for path, text in _generate().items():
        path.write_text(text)


def check() -> None:
    """Compare the files with what the migrations give.

    Raises:
        LocalError: a file in the repository is out of date; the message shows how.

    """
    for path, text in _generate().items():
        there, generated = path.read_text().splitlines(keepends=True), text.splitlines(keepends=True)
        if there != generated:
            name = str(path.relative_to(ROOT))
            changes = "".join(difflib.unified_diff(there, generated, name, "the migrations"))
            raise LocalError(f"{changes}\n{name} is out of date: run `make types`.")


def _generate() -> dict[Path, str]:
    with tempfile.TemporaryDirectory() as directory:
        with Stack(Settings(Path(directory), *free_ports(4)), service=False) as stack:
            url = f"{stack.postgres.url()}?sslmode=disable"
            types = _output([NODE, CLI, "gen", "types", f"--remote={url}", "--schema=public"], directory)
            with psycopg.connect(stack.postgres.url("supabase_admin")) as connection:
                ((objects,),) = connection.execute("select public.installation() -> 'objects'")
        # Types only: the lists of enums are empty.
        declarations = types.partition("export const Constants")[0]
        return {
            TYPES: _output([NODE, PRETTIER, "--stdin-filepath", TYPES], directory, declarations),
            INSTALLED: json.dumps(objects, indent=1, sort_keys=True) + "\n",
        }


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
