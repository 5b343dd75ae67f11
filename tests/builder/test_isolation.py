"""What a command can do to its builder and to other builds: as root, as an ordinary user, and without isolation.

Two builds run on one builder. One holds a plan; the other attacks.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from greenlight.builder.command import command
from local import ROOT
from tests.builder.conftest import Owner, builder_process, gone, until
from tests.conftest import RunningStack

# Root without its name and its capabilities. Without root, the tests run as an ordinary user already.
ORDINARY = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
USERS = {"root": [], "ordinary": ORDINARY} if os.geteuid() == 0 else {"ordinary": ORDINARY}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")

BUILDER = """
import asyncio, json, os, sys, tempfile
from greenlight.builder.command import command
from tests.builder.conftest import new_job

isolate, tempfile.tempdir = sys.argv[1:]
options = {} if isolate == "auto" else {"isolate": isolate}

async def attempt(build, document):
    try:
        await build(new_job(document)[0])
    except Exception as error:
        return str(error)

async def main(build):
    return await asyncio.gather(attempt(build, b"THE OTHER PLAN"), attempt(build, b"# Mine"))

with command(["/bin/sh", "-c", 'eval "$SCRIPT"'], dict(os.environ), **options) as build:
    print(json.dumps(asyncio.run(main(build))))
"""

PTRACE = """
import ctypes, sys
libc = ctypes.CDLL(None)
PTRACE_SEIZE = 0x4206
sys.exit(libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0)
"""


# A service_role key of the older kind.
LEGACY = jwt.encode({"role": "service_role"}, "x" * 32, "HS256")


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> list[str]:
    """Return what runs a command as this user."""
    return USERS[request.param]


@pytest.fixture(scope="module")
def isolated() -> list[str]:
    """Return in which ways this system keeps builds apart."""
    with command(["true"], {"PATH": os.environ["PATH"]}) as build:
        return build.isolated


@pytest.fixture
def own_files(isolated: list[str]) -> None:
    if "files" not in isolated:
        pytest.skip("this system does not allow mount namespaces")


@pytest.fixture
def own_processes(isolated: list[str]) -> None:
    if "processes" not in isolated:
        pytest.skip("this kernel's Landlock has no scopes")


class Two:
    """A builder with two builds, which meet in a directory."""

    def __init__(self, directory: Path, user: list[str]) -> None:
        self.meet, self.temporary = directory / "meet", directory / "tmp"
        self.meet.mkdir()
        self.temporary.mkdir()
        self.user = user

    def run(self, attack: str, isolate: str = "auto") -> list[str | None]:
        """Run the attack beside the other build; return what the other one and the attack failed with."""
        script = f"""
            cd {self.meet}
            if grep -q OTHER "$GREENLIGHT_DOCUMENT"; then
                echo $$ > pid; echo $PPID > guard; echo "$GREENLIGHT_DOCUMENT" > document; touch begun
                while [ ! -e over ]; do sleep 0.05; done
                cp "$GREENLIGHT_DOCUMENT" kept
            else
                trap 'touch over' EXIT
                while [ ! -e begun ]; do sleep 0.05; done
                pid=$(cat pid) document=$(cat document)
                {attack}
            fi
        """
        result = subprocess.run(
            [*self.user, sys.executable, "-c", BUILDER, isolate, self.temporary],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT}/service", "SCRIPT": script},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        failures: list[str | None] = json.loads(result.stdout.splitlines()[-1])
        return failures

    def read(self, name: str) -> str:
        return (self.meet / name).read_text()


@pytest.fixture
def two(tmp_path: Path, user: list[str]) -> Two:
    return Two(tmp_path, user)


READS = {
    "by its path": 'cat "$document"',
    "where all are": 'cd "$(dirname "$GREENLIGHT_DOCUMENT")"/../..; cat */*/document.md | grep -v Mine',
    "through the other's eyes": 'cat "/proc/$pid/root$document"',
    "beside the other": 'cat "/proc/$pid/cwd/../document.md"',
    "through the guard's eyes": 'cat "/proc/$(cat guard)/root$document"',
    "under the cover": 'base=$(dirname "$(dirname "$document")"); umount -l "$base"; cat "$document"',
    "under the cover, as root of a namespace": (
        """unshare -Urm sh -c 'umount -l "$(dirname "$(dirname "$0")")"; cat "$0"' "$document\""""
    ),
    "in the other's namespaces": 'nsenter -t $pid -m cat "$document" || nsenter -t $pid -U -m cat "$document"',
    "in the environment": "cat /proc/$pid/environ | grep -ao GREENLIGHT_BUILD_ID=.*",
}


WRITES = {
    "changed": 'echo changed > "$document"',
    "changed through the other's eyes": 'echo changed > "/proc/$pid/root$document"',
    "removed": 'rm -rf "$(dirname "$document")"',
    "replaced": 'echo changed > mine; mkdir -p "$(dirname "$document")"; mv -f mine "$document"',
}


@pytest.mark.usefixtures("own_files")
def test_a_build_neither_reads_nor_changes_what_another_one_has(two: Two) -> None:
    reads = (f"({attack}) > stolen{number}" for number, attack in enumerate(READS.values()))
    writes = (f"({attack})" for attack in WRITES.values())
    assert two.run("\n".join([*reads, *writes, "true"])) == [None, None]
    assert {how: two.read(f"stolen{number}") for number, how in enumerate(READS)} == dict.fromkeys(READS, "")
    assert two.read("kept") == "THE OTHER PLAN"


ENDS = {
    "the other build": "kill -KILL $pid",
    "the other build's guard": "kill -KILL $(cat guard)",
    "its own guard": "kill -KILL $PPID",
    "its own guard, stopped": "kill -STOP $PPID",
    "the builder": "kill -KILL $(cut -d' ' -f4 /proc/$PPID/stat)",
}


@pytest.mark.usefixtures("own_processes")
def test_a_build_ends_and_traces_no_process_but_its_own(two: Two) -> None:
    (two.meet / "trace.py").write_text(PTRACE)
    trace = f"{sys.executable} -I trace.py"
    attempts = (f'({attack}) && echo "{who}" >> done' for who, attack in ENDS.items())
    attack = f"""
        for each in $pid $(cat guard) $PPID $(cut -d' ' -f4 /proc/$PPID/stat); do
            {trace} $each && echo "traced $each" >> done
        done
        sleep 1000 & {trace} $! && echo "traced its own" >> done
        kill -KILL $! && echo "ended its own" >> done
    """
    assert two.run("\n".join([*attempts, attack])) == [None, None]
    assert two.read("done") == "traced its own\nended its own\n"
    assert two.read("kept") == "THE OTHER PLAN"


def test_without_isolation_a_build_that_ends_its_guard_is_ended_by_the_builder(tmp_path: Path) -> None:
    """The builder kills what carries the build's id."""
    two = Two(tmp_path, ORDINARY)
    attack = """
        setsid sh -c 'echo $$ > escaped; exec sleep 1000' &
        while [ ! -s escaped ]; do sleep 0.05; done
        touch over; kill -KILL $PPID; exec sleep 1000
    """
    assert two.run(attack, isolate="never") == [None, "The command was ended by SIGKILL."]
    assert gone([int(two.read("escaped"))])
    assert two.read("kept") == "THE OTHER PLAN"
    assert list(two.temporary.iterdir()) == []


# The key ------------------------------------------------------------------------------------------------

FIND = """
for each in /proc/[0-9]*; do cat $each/environ; done 2> /dev/null | tr '\\0' '\\n' >> {found}
env >> {found}
cat {file} >> {found} 2> /dev/null
for each in $PPID $(cut -d' ' -f4 /proc/$PPID/stat); do
    cat /proc/$each/maps /proc/$each/fd/* /proc/$each/root/{file} >> {found} 2> /dev/null
done
true
"""


@pytest.mark.usefixtures("own_files", "own_processes")
@pytest.mark.parametrize("source", ["environment", "file", "standard input"])
def test_a_command_does_not_find_the_key(
    stack: RunningStack, owner: Owner, tmp_path: Path, user: list[str], source: str
) -> None:
    file, found = tmp_path / "key", tmp_path / "found"
    file.write_text("not here" if source == "environment" else f"{stack.secret_key}\n")
    options: dict[str, dict[str, Any]] = {
        "environment": {},
        "file": {"secret_key_file": file},
        "standard input": {"secret_key_file": "-"},
    }
    agent = owner.approved()["agent_id"]
    others = {"SERVICE_ROLE": stack.secret_key, "OLDER": LEGACY, "SUPABASE_JWT_SECRET": "x" * 32}
    if source != "environment":
        others["SUPABASE_SECRET_KEY"] = ""
    with ExitStack() as running:
        standard_input = running.enter_context(
            Path(file if source == "standard input" else os.devnull).open("rb")
        )
        if source == "standard input":
            file.chmod(0)  # as a supervisor opens it that has more rights than the builder
        running.enter_context(
            builder_process(
                stack,
                tmp_path,
                *("sh", "-c", FIND.format(file=file, found=found)),
                user=user,
                stdin=standard_input,
                variables=others,
                **options[source],
            )
        )
        until(lambda: owner.status(agent)[2] == 1 and owner.status(agent)[1] != "running")
        assert (*owner.status(agent), owner.build(agent)["message"]) == ("active", "succeeded", 1, None)
    text = found.read_bytes().decode(errors="replace")
    assert "GREENLIGHT_BUILD_ID" in text
    if source != "standard input" or os.geteuid() != 0 or user:  # root itself reads every file
        assert stack.secret_key not in text
    for secret in (LEGACY, "SUPABASE_JWT_SECRET"):
        assert secret not in text
