"""What a command is given, and what its output, its exit code and its processes come to. No Supabase is needed."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from greenlight.builder import command as module
from greenlight.builder.command import command
from greenlight.builder.job import BuildFailed, Job, State
from tests.builder.conftest import Reports, eventually, gone, new_job

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def run(script: str, job: Job | None = None, isolate: str = "auto") -> Reports:
    """Run a shell script as a build, and return what it reported."""
    job = job or new_job()[0]
    with command(["/bin/sh", "-c", script], ENVIRONMENT, isolate=isolate) as build:
        await build(job)
    assert isinstance(job.state, Reports)
    return job.state


async def made(script: str, isolate: str = "auto") -> Any:
    """Run a shell script as a build, and return its result."""
    with command(["/bin/sh", "-c", script], ENVIRONMENT, isolate=isolate) as build:
        return await build(new_job()[0])


async def failure(script: str) -> tuple[str, bool]:
    """Run a shell script that fails, and return the message, and whether it is tried again."""
    with pytest.raises(BuildFailed) as raised:
        await run(script)
    return raised.value.message, raised.value.retry


def log(capfdbinary: pytest.CaptureFixture[bytes], job: Job) -> list[bytes]:
    """Return the lines of the command's log."""
    prefix = f"{job.build_id}/1 ".encode()
    lines = capfdbinary.readouterr().err.splitlines()
    assert all(line.startswith(prefix) for line in lines), lines
    return [line.removeprefix(prefix) for line in lines]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the builds' directories are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_it_knows_what_to_build(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    told = tmp_path_factory.mktemp("told")
    job, _ = new_job(b"# Caf\xc3\xa9\r\n\r\n", title='A "plan" & more ☕')

    await run(
        f'env > {told}/env; cp "$GREENLIGHT_DOCUMENT" {told}/document; ls -A > {told}/files; pwd > {told}/pwd',
        job,
    )

    variables = dict(line.split("=", 1) for line in (told / "env").read_text().splitlines())
    assert {name: value for name, value in variables.items() if name.startswith("GREENLIGHT_")} == {
        "GREENLIGHT_DOCUMENT": variables["GREENLIGHT_DOCUMENT"],
        "GREENLIGHT_RESULT": variables["GREENLIGHT_RESULT"],
        "GREENLIGHT_BUILD_ID": job.build_id,
        "GREENLIGHT_ATTEMPT": "1",
        "GREENLIGHT_AGENT_ID": job.agent_id,
        "GREENLIGHT_PLAN_ID": job.plan_id,
        "GREENLIGHT_USER_ID": job.user_id,
        "GREENLIGHT_SESSION_ID": "session",
        "GREENLIGHT_VERSION": "3",
        "GREENLIGHT_TITLE": 'A "plan" & more ☕',
        "GREENLIGHT_DOCUMENT_SHA256": job.document_sha256,
    }
    assert (told / "document").read_bytes() == job.document
    assert (told / "files").read_text() == ""
    assert Path((told / "pwd").read_text().strip()).is_relative_to(place)
    assert list(place.iterdir()) == []  # the directory is removed with all that was left in it


COMMENTS = [{"start": 2, "end": 6, "exact": "plän", "body": 'Which "one"?\n🥐'}]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {}),
        (
            {"comment": "The blue one.\n", "team_id": "a team"},
            {"COMMENT": "The blue one.\n", "TEAM_ID": "a team"},
        ),
        ({"comments": COMMENTS}, {"COMMENTS": COMMENTS}),
        ({"comment": "", "comments": COMMENTS}, {"COMMENT": "", "COMMENTS": COMMENTS}),
    ],
)
async def test_it_gets_the_note_of_the_approval_if_there_is_one(
    tmp_path: Path, given: dict[str, Any], told: dict[str, Any]
) -> None:
    script = f"""
import json, os
told = {{name: os.environ.get(f"GREENLIGHT_{{name}}") for name in ("COMMENT", "COMMENTS", "TEAM_ID")}}
if told["COMMENTS"]:
    told["COMMENTS"] = json.load(open(told["COMMENTS"], encoding="utf-8"))
json.dump(told, open({str(tmp_path / "told")!r}, "w"))
"""
    # The builder's own: it may be started by a build.
    outer = dict.fromkeys(module.OPTIONAL, "of another build")
    with command([sys.executable, "-c", script], {**ENVIRONMENT, **outer}) as build:
        await build(new_job(**given)[0])
    nothing = dict.fromkeys(("COMMENT", "COMMENTS", "TEAM_ID"))
    assert json.loads((tmp_path / "told").read_text()) == {**nothing, **told}


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("true", None),
        ("test -f $GREENLIGHT_RESULT && test ! -s $GREENLIGHT_RESULT", None),
        ("rm $GREENLIGHT_RESULT", None),
        ("rm -rf $(dirname $GREENLIGHT_RESULT) 2> /dev/null; true", None),
        ("echo '{}' > $GREENLIGHT_RESULT", {}),
        ("""echo '{"n": 1, "é": "☕"}' > mine; mv mine $GREENLIGHT_RESULT""", {"n": 1, "é": "☕"}),
        ("""echo '{"n": 1}' > mine; ln -f mine $GREENLIGHT_RESULT""", {"n": 1}),
        ("""(sleep 0.2; echo '{"n": 2}' > $GREENLIGHT_RESULT) & exit 0""", {"n": 2}),
        # A process that is left changes it until it is killed, and never after that.
        (
            """setsid sh -c 'while :; do echo "{\\"n\\": 3}" > mine; mv mine $GREENLIGHT_RESULT; done' > log 2>&1 &
            while [ ! -s $GREENLIGHT_RESULT ]; do sleep 0.01; done""",
            {"n": 3},
        ),
    ],
)
@pytest.mark.parametrize("isolate", ["auto", "never"])
async def test_what_it_made(script: str, result: Any, isolate: str, place: Path) -> None:
    assert await made(script, isolate) == result
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo > $GREENLIGHT_RESULT", "is not JSON: Expecting value: line 2 column 1 (char 1)."),
        ("echo '[]' > $GREENLIGHT_RESULT", "is not a JSON object."),
        (r"""printf '{"a": "\377"}' > $GREENLIGHT_RESULT""", "is not UTF-8."),
        (r"""printf '{"a": "\\ud83e"}' > $GREENLIGHT_RESULT""", "has half of a surrogate pair."),
        ("head -c 2000000 /dev/zero > $GREENLIGHT_RESULT", "is in a file of more than 1,048,576 bytes."),
        ("rm $GREENLIGHT_RESULT; mkfifo $GREENLIGHT_RESULT", "is not in a regular file."),
        ("rm $GREENLIGHT_RESULT; mkdir $GREENLIGHT_RESULT", "is not in a regular file."),
        ("ln -sf $SECRET $GREENLIGHT_RESULT", "is not in a regular file."),
        ("ln -sf nowhere $GREENLIGHT_RESULT", "is not in a regular file."),
    ],
)
async def test_a_wrong_result_fails_the_build_for_good(
    script: str, why: str, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secret") / "secret.json"
    secret.write_text('{"secret": 1}')
    assert await failure(f"SECRET={secret}; {script}; exit 0") == (f"The result {why}", False)
    assert list(place.iterdir()) == []


async def test_the_result_of_a_command_that_fails_does_not_matter() -> None:
    assert await failure("echo '[' > $GREENLIGHT_RESULT; echo 'No oven.' >&2; exit 1") == ("No oven.", True)


async def test_a_result_does_not_outlive_a_stop(tmp_path: Path, place: Path) -> None:
    task, pids = await start(
        """echo '{"n": 1}' > $GREENLIGHT_RESULT; echo $$ >> $PIDS; sleep 1000""", tmp_path / "pids", 1
    )
    await cancel(task)
    assert gone(pids)
    assert list(place.iterdir()) == [tmp_path / "pids"]


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (r"::progress 40 Writing tests", (40, "Writing tests")),
        (r"::progress 0", (0, None)),
        (r"::progress 100 ", (100, None)),
        (r"::progress\t7\ttabs  inside", (7, "tabs  inside")),
        (r"::progress 40 Caf\303\251 \342\230\225", (40, "Café ☕")),
        (r"::progress 40 carriage return\r", (40, "carriage return")),
        (r"::progress 40 broken \377\376", (40, "broken ��")),
        (r"::progress 40 bell\007 and \033[1mbold\033[0m", (40, "bell  and bold")),
    ],
)
async def test_progress(
    line: str, report: tuple[int, str | None], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job, _ = new_job()
    reports = await run(f"printf '{line}\\n'", job)
    assert reports.all == [report]
    assert log(capfdbinary, job) == []


@pytest.mark.parametrize(
    "line",
    [
        "::progress 101 too much",
        "::progress -1",
        "::progress",
        "::progress x",
        "::progress 4.5 half",
        " ::progress 4",
    ],
)
async def test_what_is_not_progress_is_log(line: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    job, _ = new_job()
    reports = await run(f"printf '%s\\n' '{line}'", job)
    assert reports.all == []
    assert log(capfdbinary, job) == [line.encode()]


async def test_progress_without_a_line_break_at_the_end_counts() -> None:
    assert (await run("printf '::progress 5 last'")).all == [(5, "last")]


async def test_progress_on_standard_error_is_log(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    job, _ = new_job()
    assert (await run("echo '::progress 5 no' >&2", job)).all == []
    assert log(capfdbinary, job) == [b"::progress 5 no"]


async def test_a_long_message_is_cut() -> None:
    ((_, message),) = (await run("printf '::progress 5 '; head -c 5000 /dev/zero | tr '\\0' x")).all
    assert message == "x" * 500


async def test_output_is_the_log(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    job, _ = new_job()
    await run(r"printf 'one\n\n\377two'; printf 'three\n' >&2", job)
    assert sorted(log(capfdbinary, job)) == sorted([b"one", b"", b"\xfftwo", b"three"])


@pytest.mark.parametrize(
    ("script", "message", "retry"),
    [
        ("echo first >&2; echo last >&2; exit 1", "last", True),
        ("printf 'last\\n\\n  \\n' >&2; exit 2", "last", True),
        ("printf 'without a line break' >&2; exit 1", "without a line break", True),
        (r"printf 'Caf\303\251 \377\n' >&2; exit 1", "Café �", True),
        ("echo 'not this' ; exit 3", "The command ended with exit code 3.", True),
        ("kill -KILL $$", "The command was ended by SIGKILL.", True),
        ("echo 'The plan names no colour.' >&2; exit 65", "The plan names no colour.", False),
        ("exit 65", "The command ended with exit code 65.", False),
        ("head -c 300000 /dev/zero | tr '\\0' e >&2; exit 1", "e" * 500, True),
    ],
)
async def test_exit_codes(script: str, message: str, retry: bool) -> None:
    assert await failure(script) == (message, retry)


async def test_exit_0_with_errors_written_is_success() -> None:
    await run("echo 'only a warning' >&2")


async def test_a_command_that_cannot_be_started_is_tried_again() -> None:
    with command(["/nowhere/command"], ENVIRONMENT) as build, pytest.raises(BuildFailed) as raised:
        await build(new_job()[0])
    assert (raised.value.message, raised.value.retry) == (
        "The command could not be started: it is not there, or not executable.",
        True,
    )


async def test_a_problem_of_the_builder_is_not_shown_to_the_owner(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with command(["true"], ENVIRONMENT) as build:
        (directory,) = place.glob("greenlight-build-*")
        shutil.rmtree(directory)
        with pytest.raises(BuildFailed) as raised:
            await build(new_job()[0])
    assert raised.value.message == "The builder could not run the command. Its own log says why."
    assert raised.value.retry
    assert f"No such file or directory: '{directory}" in capfd.readouterr().out


async def test_what_was_removed_is_made_again(place: Path) -> None:
    with command(["true"], ENVIRONMENT) as build:
        shutil.rmtree(place)
        build.ready(60)
        await build(new_job()[0])


async def test_a_directory_that_another_user_put_in_its_place_is_not_used(place: Path) -> None:
    """Its parent may be one in which everybody writes, and its name can be seen."""
    with command(["true"], ENVIRONMENT) as build:
        (directory,) = place.glob("greenlight-build-*")
        shutil.rmtree(directory)
        directory.symlink_to(place)
        build.ready(60)
        await build(new_job()[0])
        assert not (place / "ready").exists()


async def test_what_is_deep_or_read_only_is_removed_too(place: Path) -> None:
    deep = "i=0; while [ $i -lt 2000 ]; do mkdir d; cd d; i=$((i + 1)); done"
    await run(f"({deep}); mkdir -p a/b; touch a/b/c; chmod 0 a/b; chmod 500 a")
    assert list(place.iterdir()) == []


async def test_a_command_may_close_its_output(tmp_path: Path) -> None:
    assert (await run("echo '::progress 5 now'; exec >&- 2>&-; sleep 0.3; exit 0")).all == [(5, "now")]
    assert await failure("echo 'No oven.' >&2; exec >&- 2>&-; exit 65") == ("No oven.", False)


async def shared(script: str) -> str | None:
    """Run a shell script as a build whose log is shared, and return that."""
    job, _ = new_job()
    with command(["/bin/sh", "-c", script], ENVIRONMENT, share_log=True) as build:
        await build(job)
    return job.state.log.take()


@pytest.mark.parametrize(
    ("script", "log"),
    [
        ("true", None),
        ("echo out; sleep 0.2; echo error >&2", "out\nerror\n"),
        (
            "echo one; echo '::progress 40 Writing tests'; echo two; echo '::progress no'",
            "one\ntwo\n::progress no\n",
        ),
        ("printf '::prog'; sleep 0.2; printf 'ress 5 x\\nrest'", "rest"),
        ("printf '::prog'; sleep 0.2; printf 'ramme\\n'", "::programme\n"),
        ("echo '::progress 5' >&2", "::progress 5\n"),
        (r"printf '\342\230'; sleep 0.2; printf '\225 \377 \0 \303'", "☕ � � �"),
        (r"printf '\033[31mred\033[0m\r\n\033[3'", "\x1b[31mred\x1b[0m\r\n"),
        ("printf 'no end'; sleep 0.2; printf ' of the line'; printf '\\n\\n'", "no end of the line\n\n"),
        ("yes 12345678 | head -c 9000000", ("12345678\n" * 10_000)[-65_536:]),
        ("head -c 10000000 /dev/zero | tr '\\0' x; printf end", "x" * 65_533 + "end"),
        (r"""printf '%0200000d' 0 | sed 's/0/\o342\o230\o225/g'""", "☕" * 65_536),
    ],
    ids=range(12),
)
async def test_the_end_of_its_output_is_shared(script: str, log: str | None) -> None:
    assert await shared(script) == log


async def test_nothing_is_shared_unless_it_is_asked_for() -> None:
    assert (await run("echo out; echo error >&2")).log.take() is None


async def test_a_line_that_has_not_ended_is_shared_at_once(tmp_path: Path) -> None:
    job, _ = new_job()
    script = f"printf 'Work'; sleep 0.1; printf 'ing'; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo ' ended'"
    with command(["/bin/sh", "-c", script], ENVIRONMENT, share_log=True) as build:
        running = asyncio.create_task(build(job))
        await eventually(lambda: job.state.log.take() == "Working")
        (tmp_path / "go").touch()
        await running
    assert job.state.log.take() == "Working ended\n"


@pytest.mark.parametrize("share_log", [False, True])
@pytest.mark.parametrize(
    "flood",
    [
        "head -c 60000000 /dev/zero",
        "head -c 60000000 /dev/zero >&2",
        "yes | head -c 4000000",
        "yes ::progress 50 x | head -c 2000000",
    ],
    ids=["one-line", "errors", "short-lines", "reports"],
)
async def test_a_flood_of_output_takes_no_memory(
    flood: str, share_log: bool, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job = replace(new_job()[0], state=State())  # which does not remember all of them
    process, peak = psutil.Process(), 0
    before = process.memory_info().rss
    with command(["/bin/sh", "-c", flood], ENVIRONMENT, share_log=share_log) as build:
        running = asyncio.ensure_future(build(job))
        while not running.done():
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.01)
        await running
    assert peak - before < 40 * 2**20


async def start(
    script: str, pids: Path, count: int, isolate: str = "auto"
) -> tuple["asyncio.Task[Reports]", list[int]]:
    """Start a script that writes so many process ids to $PIDS, one a line; return when it has written them."""
    task = asyncio.create_task(run(f"PIDS={pids}; {script}", isolate=isolate))
    await eventually(lambda: pids.exists() and pids.read_text().count("\n") == count)
    return task, [int(line) for line in pids.read_text().splitlines()]


CHILDREN = "sleep 1000 & echo $! >> $PIDS; (sleep 1000 & echo $! >> $PIDS; wait) & echo $$ >> $PIDS; wait"


async def cancel(task: "asyncio.Task[Reports]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_it_ends_with_all_its_children(tmp_path: Path, place: Path) -> None:
    task, pids = await start(CHILDREN, tmp_path / "pids", 3)
    await cancel(task)
    await eventually(lambda: gone(pids))


async def test_cancelled_it_may_clean_up(tmp_path: Path) -> None:
    script = (
        f"trap 'echo yes > {tmp_path}/cleaned; exit' TERM; echo $$ >> $PIDS; while :; do sleep 0.05; done"
    )
    task, pids = await start(script, tmp_path / "pids", 1)
    await cancel(task)
    assert (tmp_path / "cleaned").read_text() == "yes\n"
    assert gone(pids)


async def test_a_command_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TERM_SECONDS", 0.3)
    task, pids = await start(f"trap '' TERM; {CHILDREN}", tmp_path / "pids", 3)
    await cancel(task)
    await eventually(lambda: gone(pids))


async def test_what_it_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    task, pids = await start("sleep 1000 & echo $! >> $PIDS; echo '::progress 9 done'", tmp_path / "pids", 1)
    assert (await task).all == [(9, "done")]
    await eventually(lambda: gone(pids))


# How a process gets away from the command's process group, its parent, its environment and its output.
ESCAPES = {
    "a session of its own": "setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &",
    "a second fork": "(setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' &)",
    "no environment": "env -i PIDS=$PIDS setsid sh -c 'echo $$ >> $PIDS; exec env -i sleep 1000' &",
    "no output": "(setsid sh -c 'echo $$ >> $PIDS; exec sleep 1000' > /dev/null 2>&1 &)",
    "no end at SIGTERM": """(setsid sh -c 'trap "" TERM; echo $$ >> $PIDS; while :; do sleep 1; done' &)""",
}


@pytest.mark.parametrize("end", ["the command ends", "cancelled"])
@pytest.mark.parametrize("isolate", ["auto", "never"])
async def test_nothing_outlives_the_build(
    tmp_path: Path, end: str, isolate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TERM_SECONDS", 0.3)
    over = tmp_path / "over"
    escapes = "\n".join(["export PIDS", *ESCAPES.values()])
    task, pids = await start(
        f"{escapes}\nwhile [ ! -e {over} ]; do sleep 0.05; done", tmp_path / "pids", len(ESCAPES), isolate
    )
    if end == "cancelled":
        await cancel(task)
    else:
        over.touch()
        await asyncio.wait_for(task, 30)
    assert {how: gone([pid]) for how, pid in zip(ESCAPES, pids, strict=True)} == dict.fromkeys(ESCAPES, True)


def builder_of(script: str, directory: Path) -> list[str]:
    """Return the command of a builder's process, which runs the script as its one build."""
    code = f"""
import asyncio, os, tempfile
from greenlight.builder.command import command
from tests.builder.conftest import new_job

async def main(build):
    await build(new_job()[0])

tempfile.tempdir = {str(directory)!r}
with command(["/bin/sh", "-c", {script!r}], {ENVIRONMENT!r}) as build:
    asyncio.run(main(build))
"""
    return [sys.executable, "-c", code]


async def test_a_command_does_not_outlive_a_builder_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with subprocess.Popen(builder_of(f"PIDS={pids}; {CHILDREN}", tmp_path)) as process:
        try:
            await eventually(lambda: pids.exists() and pids.read_text().count("\n") == 3)
        finally:
            process.kill()
    await eventually(lambda: gone([int(line) for line in pids.read_text().splitlines()]))
    await eventually(lambda: not list(tmp_path.glob("greenlight-build-*")))
