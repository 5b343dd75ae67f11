"""Runs the shell commands of README, docs/planner.md and docs/deploy.md, as far as they can be run here.

They run in a project of an adopter, one page after the other from top to bottom in one shell. Only the placeholders are
replaced. What cannot be run here is listed with the reason; a command that is new is run, and has to work.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import free_ports

from .conftest import ROOT, Adopter, adopter_in, install_and_push

PAGES = [ROOT / "README.md", ROOT / "docs/planner.md", ROOT / "docs/deploy.md"]

NOT_HERE = {
    r"make [a-z]+$": "CI runs them; test_make_targets_are_there looks for them",
    r"git clone": "this is the clone",
    r"python3 -m venv|pip install|uvx": "test_wheel.py installs the wheel, test_dockerfile.py the locked packages",
    r"npx supabase link": "it needs a hosted project",
    r"npx supabase db push( --remote)?$": "it needs a linked project; the same with a connection string is run",
    r"npx supabase db push --db-url": "CLI 2; test_install.py and test_uninstall.py push with it",
    r"npx supabase db dump|psql": "the CLI dumps in a container; test_dump.py runs its script, and restores it",
    r"npx supabase migration repair": "it needs a linked project; test_dump.py runs it with a connection string",
    r"(NEXT_PUBLIC_.* )?npm (ci|run) ?": "local/web.py builds and starts the web app for tests/web",
    r"docker": "it needs Docker; test_dockerfile.py runs the image's steps",
}


def commands(page: Path) -> list[str]:
    """The commands in the page's shell blocks, one each, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", "".join(blocks)).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#\s.*", "", line).strip())]


def runs_here(command: str) -> bool:
    return not any(re.match(pattern, command) for pattern in NOT_HERE)


def test_pip_installs_what_the_lock_names() -> None:
    installs = [command for page in PAGES for command in commands(page) if "pip install" in command]
    ours = [part for command in installs for part in command.split(" && ") if "pip install" in part]
    assert len(ours) > 4
    assert [
        part for part in ours if not re.search(r"--require-hashes -r \S*requirements\.lock$|--no-deps", part)
    ] == []


@pytest.fixture
def running_adopter(tmp_path: Path) -> Iterator[Adopter]:
    """A project with the service in front, as `make up` leaves it."""
    with adopter_in(tmp_path, service=True) as adopter:
        install_and_push(adopter)
        (tmp_path / ".venv").symlink_to(sys.prefix)
        yield adopter


@pytest.mark.skipif(shutil.which("curl") is None, reason="the docs use curl")
def test_they_work(running_adopter: Adopter) -> None:
    adopter = running_adopter
    user = adopter.sign_up()
    user.approve("s1", b"# A plan\n")
    variables = adopter.stack.variables()
    (port,) = free_ports(1)
    replaced = {
        "https://<ref>.supabase.co": variables["SUPABASE_URL"],
        "sb_publishable_…": variables["SUPABASE_PUBLISHABLE_KEY"],
        "sb_secret_…": variables["SUPABASE_SECRET_KEY"],
        "<user id>": user.id,
        "curl -s ": "curl -fsS ",  # so that a refusal is a failure
    }
    script = ["set -eux"]
    for page in PAGES:
        for line in commands(page):
            if not runs_here(line):
                continue
            command = line
            for placeholder, value in replaced.items():
                command = command.replace(placeholder, value)
            if "/auth/v1/signup" in command:
                # The same user signs up once, and then signs in as the page says.
                (signed_up,) = re.findall(r"signed up\? Replace `(.+?)` by `(.+?)`", page.read_text())
                command += f"; {command.replace(*signed_up)}"
            assert not re.search(r"<[a-z ]+>|…", command), (
                f"{page.name}: {line} has a placeholder that is not known here"
            )
            if command.endswith("greenlight serve"):
                # It stays in the foreground until it is told to stop.
                command = (
                    f"export PORT={port}; {command} & curl -fsS --retry 60 --retry-delay 1 --retry-all-errors"
                    f" http://127.0.0.1:{port}/readyz; kill -TERM $!; wait $!; unset PORT"
                )
            if command.startswith("greenlight build"):
                # The same. It has something to build, and ends when that is built.
                command = (
                    f"printf '#!/bin/sh\\n' >build.sh; chmod +x build.sh; {command} & until curl -fsS"
                    ' "$SUPABASE_URL/rest/v1/build?status=eq.succeeded" -H "apikey: $SUPABASE_SECRET_KEY"'
                    ' -H "Authorization: Bearer $SUPABASE_SECRET_KEY" | grep succeeded; do sleep 0.2; done;'
                    " kill -TERM $!; wait $!"
                )
            if "greenlight install" in command or "greenlight uninstall" in command:
                # The push that follows it needs a linked project, and is replaced by its other form.
                command += '; npx supabase db push --remote="$DATABASE_URL" --yes'
            if command.startswith("npx supabase db push"):
                command += " --yes"
            script.append(command)
    result = adopter.run("bash", "-c", "\n".join(script))
    assert result.returncode == 0, result.stdout[-5000:]


def test_each_exception_is_still_in_the_docs() -> None:
    every = [command for page in PAGES for command in commands(page)]
    assert [pattern for pattern in NOT_HERE if not any(re.match(pattern, command) for command in every)] == []


def test_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    every = [command for page in PAGES for command in commands(page) if command.startswith("make ")]
    assert {"make demo", "make up"} <= set(every)
    assert {command.split()[1] for command in every} <= targets


def test_no_command_fetches_our_names_from_a_registry() -> None:
    """Both names belong to other projects there, or to none yet."""
    for page in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "client").glob("*.md")),
    ]:
        for command in re.findall(
            r"^(?:[^`\n]*\b)?((?:pip|uv|uvx|pipx|npm|npx|pnpm|yarn) .*)$", page.read_text(), re.MULTILINE
        ):
            for word in command.split():
                assert (
                    not re.fullmatch(r"[`'\"]*greenlight(-client)?([=@\[].*)?[`'\"]*", word)
                    or "path/to/" in command
                ), f"{page.name}: {command}"
