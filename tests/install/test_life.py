"""What happens to a Supabase project over the years: reset, dumped, restored into another one."""

import re
import shlex
import subprocess

import psycopg
import pytest

from greenlight import install
from greenlight.install import EARLIER, shipped
from tests.plan import sha256

from .conftest import Host

OURS = "'plans', 'plans', false, 1048576, array['text/markdown']"


def test_reset_of_a_linked_project(host: Host) -> None:
    """The CLI drops our tables, and leaves the bucket with its documents."""
    host.add("20260101000000_note.sql")
    host.install()
    assert host.works()
    for _ in range(2):
        result = host.supabase("db", "reset")
        assert result.returncode == 0, result.stdout
        assert host.works()
    assert "up to date" in host.pushed()
    assert len(host.database.rows("select from storage.objects")) == 3


def test_reset_after_an_uninstall(host: Host) -> None:
    host.begin_installed()
    assert host.greenlight("uninstall").exit_code == 0
    host.pushed()
    assert host.greenlight("install").exit_code == 0
    result = host.supabase("db", "reset")
    assert result.returncode == 0, result.stdout
    assert host.works()


def test_a_bucket_of_theirs_is_not_taken_for_ours(host: Host) -> None:
    """The first migration refuses it. What a push then says and leaves, test_uninstall.py shows with another one."""
    columns = "(id, name, public, file_size_limit, allowed_mime_types)"
    for bucket in (
        OURS.replace("false", "true"),
        OURS.replace("1048576", "null"),
        OURS.replace("1048576", "1048577"),
        OURS.replace("array['text/markdown']", "null"),
        OURS.replace("array['text/markdown']", "array['text/markdown', 'text/plain']"),
        OURS.replace("'plans', 'plans'", "'theirs', 'plans'"),
    ):
        with host.database.transaction("postgres") as connection:
            connection.execute(f"insert into storage.buckets {columns} values ({bucket})".encode())
            with pytest.raises(psycopg.errors.DuplicateObject, match="already taken: bucket plans"):
                connection.execute(shipped()[0].text.encode())


def test_a_project_with_the_first_migration_of_0_2_0_goes_on(host: Host) -> None:
    """It is taken for unchanged. Install says how to replace it, so that a reset works."""
    host.begin_installed()
    path = host.ours()[0]
    corrected = path.read_text()
    path.write_text(first_of_0_2_0())
    refused = host.supabase("db", "reset")
    assert refused.returncode != 0
    assert "already taken: bucket plans" in refused.stdout
    # The database is empty now, and so stays what follows.
    for command in (["install", "--check"], ["install"]):
        result = host.greenlight(*command)
        assert result.exit_code == 0, result.output
        assert "up to date" in result.output
    (copy,) = re.findall(r"^  (cp .*)$", result.output, re.MULTILINE)
    subprocess.run(shlex.split(copy), check=True)
    assert path.read_text() == corrected
    assert "cp" not in host.greenlight("install").output
    result_of_reset = host.supabase("db", "reset")
    assert result_of_reset.returncode == 0, result_of_reset.stdout
    assert host.works()


@pytest.mark.parametrize("combination", [(3, "wide"), (2, "narrow")], ids=["cli3-wide", "cli2-narrow"])
def test_an_upgrade_from_0_2_0_with_data_ends_as_a_new_install(
    host: Host, combination: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.cli == combination[0]
    everything = shipped()
    with monkeypatch.context() as patch:
        patch.setattr(install, "shipped", lambda: everything[:6])
        host.install()
    of_0_2 = {path: path.read_text() for path in host.ours()}
    assert len(of_0_2) == 6
    database = host.database
    users = [database.new_user() for _ in range(2)]
    deleted = []
    for user in users:
        database.store_and_approve(user, "s1")
        database.store_and_approve(user, "s1", version=2)
        deleted.append(database.store_and_approve(user, "s2")["agent_id"])
        database.call(user, "delete_agent", agent_id=deleted[-1])
        database.store_and_propose(user, "waits")
        database.store_and_propose(user, "back")
        database.decide(user, "request_changes", "back")
    database.rows("update public.build set run_after = created_at where status = 'queued' returning id")
    running = database.claim(2)
    rows = "select to_jsonb(p) as row from public.plan as p order by id"
    before = database.rows(rows)
    assert len(before) == 10
    database.close()  # its connections know the functions of 0.2.0
    database.idle.clear()

    host.install()
    assert {path: path.read_text() for path in of_0_2} == of_0_2
    assert [
        {key: row["row"][key] for key in old["row"]}
        for row, old in zip(database.rows(rows), before, strict=True)
    ] == [old["row"] for old in before]
    assert not host.differences()
    assert host.works()
    files = {path: path.read_text() for path in host.ours()}
    for command in (["install", "--check"], ["install"]):
        result = host.greenlight(*command)
        assert result.exit_code == 0, result.output
        assert "up to date" in result.output
    assert {path: path.read_text() for path in host.ours()} == files
    assert "up to date" in host.pushed()

    # What was under way goes on.
    assert [database.finish(claimed)["status"] for claimed in running] == ["active", "active"]
    for user, agent in zip(users, deleted, strict=True):
        assert database.call(user, "restore_agent", agent_id=agent)["deleted_at"] is None
        assert database.store_and_approve(user, "s1", version=2)["created"] is False
        assert database.approve_proposed(user, "waits")["created"] is True
        database.store_and_propose(user, "back", 2, message="Now with prices.")
        assert database.plan(user, "back", 2)["message"] == "Now with prices."
    assert not host.differences()

    # Out and in again.
    assert host.greenlight("uninstall", "--keep-documents").exit_code == 0
    host.pushed()
    host.database.close()
    host.database.idle.clear()
    host.install()
    assert not host.differences()
    assert host.works()


def first_of_0_2_0() -> str:
    text = re.sub(
        r"-- A bucket outlives.*?is not true\n",
        "-- SQL cannot remove a bucket. One that our uninstall left behind and marked is ours.\n"
        "        union all\n        select 'bucket plans'\n        from storage.buckets\n        where\n"
        "            (id = 'plans' or name = 'plans')\n"
        "            and allowed_mime_types is distinct from array['x-greenlight/uninstalled']\n",
        shipped()[0].text,
        flags=re.DOTALL,
    )
    assert sha256(text) in EARLIER
    return text
