"""`greenlight install`, and the push by the real CLI, in projects that have a life of their own."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenlight import install
from greenlight.cli import app
from greenlight.install import InstallError, Migration, later_stamps, shipped

from .conftest import ROOT, Host

NAMES = [migration.name for migration in shipped()]


def stamp(days: int) -> str:
    """The stamp of a migration that was made so many days from now."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%S}"


def test_the_migrations_are_those_of_the_repository() -> None:
    repository = sorted(path.name for path in (ROOT / "supabase/migrations").glob("*.sql"))
    assert [str(migration) for migration in shipped()] == repository
    assert len(repository) > 1


@pytest.mark.soak
def test_an_empty_project(host: Host) -> None:
    host.install()
    assert [re.sub(r"^\d{14}_", "", name) for name in host.files()] == NAMES
    assert host.works()


@pytest.mark.parametrize(
    "own",
    [
        [f"{stamp(-1)}_note.sql", f"{stamp(0)}_other.sql"],  # newer than ours in our repository
        [f"{stamp(700)}_note.sql"],
        ["1_note.sql", "0002_other.sql", f"{stamp(0)[:8]}_third.sql", f"{stamp(0)}5_fourth.sql"],
        ["9_note.sql"],
    ],
    ids=["newer", "ahead of the clock", "stamped in other lengths", "the last by its stamp"],
)
@pytest.mark.soak
def test_a_project_with_migrations_that_are(host: Host, own: list[str]) -> None:
    for number, name in enumerate(own):
        host.add(name, f"create table public.note_{number} (id int primary key);")
    host.pushed()
    host.install()
    assert host.works()
    # Theirs goes on.
    result = host.greenlight("install", "--check")
    assert result.exit_code == 0, result.output
    last = host.ours()[-1].name[:14]
    host.add(f"{int(last) + 1}_later.sql", "create table public.later (id int primary key);")
    assert "later.sql" in host.pushed()
    assert host.database.rows("select from public.later") == []


def test_our_own_stamps_would_not_do(host: Host) -> None:
    """What `greenlight install` is for: the CLI refuses what is older than the newest that the database has."""
    host.add(f"{stamp(700)}_note.sql")
    host.pushed()
    for migration in shipped():
        host.add(str(migration), migration.text)
    refused = host.push()
    assert refused.returncode != 0
    assert "to be inserted before the last migration" in refused.stdout


def test_the_owner_goes_on_after_the_install(host: Host) -> None:
    host.add(f"{stamp(-3)}_note.sql")
    host.install()
    host.add(
        f"{stamp(1)}_reference.sql", "create table public.ref (agent_id uuid references public.agent (id));"
    )
    assert "_reference.sql" in host.pushed()
    assert host.greenlight("install", "--check").exit_code == 0
    assert "up to date" in host.pushed()


def test_again_writes_nothing(host: Host) -> None:
    host.begin_installed()
    before = {path: path.stat().st_mtime_ns for path in host.migrations.iterdir()}
    result = host.greenlight("install")
    assert result.exit_code == 0
    assert "up to date" in result.output
    push = {2: "npx supabase db push", 3: "npx supabase db push --remote"}[host.cli]
    assert result.output.endswith(f"If you have not pushed them yet: {push}\n")
    assert {path: path.stat().st_mtime_ns for path in host.migrations.iterdir()} == before
    assert "up to date" in host.pushed()


def test_an_upgrade_adds_what_is_new(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.begin_installed()
    host.add(f"{stamp(30)}_note.sql")
    host.pushed()
    before = host.files()

    number = len(NAMES) + 1
    more = Migration(
        "20990101000000",
        f"greenlight_{number:02}_more.sql",
        "create function greenlight.more() returns int language sql as 'select 1';",
    )
    newer = [*shipped(), more]
    monkeypatch.setattr(install, "shipped", lambda: newer)
    behind = host.greenlight("install", "--check")
    assert behind.exit_code == 1
    assert more.name in behind.output
    assert not any(name in behind.output for name in NAMES)
    host.install()
    assert host.files()[:-1] == before
    assert host.files()[-1].endswith(more.name)
    assert host.database.rows("select greenlight.more()") == [{"more": 1}]
    assert host.greenlight("install", "--check").exit_code == 0

    # The earlier version neither calls this project up to date nor writes its migrations again.
    monkeypatch.setattr(install, "shipped", lambda: newer[:-1])
    for command in (["install"], ["install", "--check"], ["uninstall"]):
        older = host.greenlight(*command)
        assert older.exit_code == 1
        assert "newer" in older.output
    assert host.files()[:-1] == before


def test_a_changed_file_is_shown_and_nothing_is_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.begin_installed()
    changed = host.ours()[1]
    changed.write_text(
        changed.read_text().replace("create table public.plan (", "create table public.plann (")
    )
    newer = [*shipped(), Migration("", "greenlight_99_more.sql", "select 1;")]
    monkeypatch.setattr(install, "shipped", lambda: newer)
    before = host.files()
    for command in (["install"], ["install", "--check"], ["install", "--dry-run"], ["uninstall"]):
        result = host.greenlight(*command)
        assert result.exit_code == 1
        assert changed.name in result.output
        assert "-create table public.plan (" in result.output
        assert "+create table public.plann (" in result.output
    assert host.files() == before


def test_line_endings_of_a_checkout_on_windows_are_no_change(host: Host) -> None:
    assert host.greenlight("install").exit_code == 0
    for path in host.ours():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "up to date" in host.greenlight("install", "--check").output
    host.pushed()
    assert host.works()


def test_a_taken_name_stops_the_push_until_our_files_are_removed(host: Host) -> None:
    host.add(f"{stamp(-3)}_plan.sql", "create table public.plan (id int primary key);")
    host.pushed()
    assert host.greenlight("install").exit_code == 0
    refused = host.push()
    assert refused.returncode != 0
    assert "already taken: public.plan" in refused.stdout
    assert host.database.rows("select from pg_namespace where nspname = 'greenlight'") == []

    for path in host.ours():
        path.unlink()
    host.add(f"{stamp(1)}_note.sql")
    assert "_note.sql" in host.pushed()


def test_a_dry_run_writes_nothing(host: Host) -> None:
    result = host.greenlight("install", "--dry-run")
    assert result.exit_code == 0
    assert all(name in result.output for name in NAMES)
    assert host.files() == []


def test_check_fails_until_it_is_installed(host: Host) -> None:
    result = host.greenlight("install", "--check")
    assert result.exit_code == 1
    assert all(name in result.output for name in NAMES)
    assert host.files() == []


def test_an_interrupted_run_is_completed_by_the_next(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed while it writes each of the files in turn: half of that one is there, beside its place."""
    write_text, written = Path.write_text, list[Path]()

    def dies(path: Path, text: str, **options: str) -> int:
        if written:
            write_text(path, text[: len(text) // 2], encoding="utf-8")
            raise KeyboardInterrupt
        written.append(path)
        return write_text(path, text, encoding="utf-8")

    for count in range(1, len(NAMES)):
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", dies)
            assert host.greenlight("install").exit_code != 0
        assert len(host.ours()) == count

    host.install()
    assert [re.sub(r"^\d{14}_", "", name) for name in host.files()] == NAMES
    assert host.works()


def test_a_file_that_was_lost_is_not_written_after_its_successors(host: Host) -> None:
    host.begin_installed()
    lost = host.ours()[1]
    lost.unlink()
    before = host.files()
    result = host.greenlight("install")
    assert result.exit_code == 1
    assert "Restore what was removed or renamed" in result.output
    assert host.files() == before


def test_two_copies_are_refused(host: Host) -> None:
    """As two branches leave them that installed, each for itself."""
    assert host.greenlight("install").exit_code == 0
    for number, migration in enumerate(shipped()):
        host.add(f"{stamp(1 + number)}_{migration.name}", migration.text)
    before = host.files()
    assert host.greenlight("install", "--check").exit_code == 1
    assert host.greenlight("install").exit_code == 1
    assert host.files() == before


def test_next_come_the_commands_of_the_cli_that_the_project_uses(host: Host) -> None:
    result = host.greenlight("install")
    link, push = result.output.splitlines()[-2:]
    assert link == "  npx supabase link --project-ref <ref>"
    assert push == {2: "  npx supabase db push", 3: "  npx supabase db push --remote"}[host.cli]

    (host.directory / "supabase/.temp").mkdir()
    (host.directory / "supabase/.temp/project-ref").write_text("abcdefghijklmnopqrst")
    for path in host.ours():
        path.unlink()
    *_, look, linked_push = host.greenlight("install").output.splitlines()
    assert (look, linked_push) == (f"{push} --dry-run", push)


def test_without_a_cli_they_are_those_of_the_newest(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.directory / "node_modules").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    text, *_, push = host.greenlight("install").output.partition("Next, ")[2].splitlines()
    assert "no Supabase CLI found here; npx fetches version 3" in text
    assert push == "  npx supabase db push --remote"


def test_the_project_is_found_from_any_directory_in_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = host.directory / "src/deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    result = CliRunner().invoke(app, ["install"])
    assert result.exit_code == 0, result.output
    assert len(host.ours()) == len(NAMES)


def test_elsewhere_is_no_project(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["install", "--project", str(tmp_path)])
    assert result.exit_code == 1
    assert "supabase/config.toml" in result.output
    assert [*tmp_path.iterdir()] == []


def test_a_read_only_folder_is_an_error_without_a_traceback(host: Host) -> None:
    host.migrations.write_text("a file in the folder's place")
    result = host.greenlight("install")
    assert result.exit_code == 1
    assert str(host.migrations) in result.output


@pytest.mark.parametrize(
    ("there", "first"),
    [
        ([], "20270101000001"),
        (["20261231235959"], "20270101000001"),
        (["20270101000000"], "20270101000001"),
        (["20280229235959"], "20280301000000"),
        (["20281231235959"], "20290101000000"),
        (["20270101246060"], "20270102000000"),  # of no moment: counters are written so
        (["20279999999999"], "20280101000000"),
        (["1", "2", "0003"], "20270101000001"),
        (["3"], "30000101000000"),
        (["9"], "90000101000000"),
        (["20270101"], "20270101000001"),
        (["20270102"], "20270102000001"),
        (["202701020000005"], "20270102000001"),
        (["1798761600"], "20270101000001"),
    ],
)
def test_stamps_are_later_than_now_and_than_all_there(there: list[str], first: str) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    stamps = later_stamps([Migration(stamp, "x.sql", "") for stamp in there], 3, now)
    assert stamps[0] == first
    assert stamps == sorted(set(stamps))
    for one in stamps:
        datetime.strptime(one, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        assert all(one > stamp for stamp in there)


def test_after_the_last_stamp_of_all_there_is_none() -> None:
    for last in ("99991231235959", "99991231235957", "9999999"):
        with pytest.raises(InstallError, match="Rename"):
            later_stamps([Migration(last, "x.sql", "")], 3, datetime.now(UTC))
