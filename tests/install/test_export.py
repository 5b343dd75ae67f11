"""`greenlight export`: everything of one user, and nothing of another."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from greenlight import admin, export
from greenlight.admin import Supabase, SupabaseUnavailableError
from tests.plan import sha256

from .conftest import Account, Adopter

FIRST, SECOND = b"# First\n", "# Zweites, 計画\r\n".encode()
NOTE = {"start": 11, "end": 13, "exact": "計画", "body": "Which one?"}


def lines(folder: Path, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{table}.jsonl").read_text().splitlines()]


def run(adopter: Adopter, user: str, to: Path, **variables: str) -> tuple[int, str]:
    result = adopter.greenlight("export", "--user", user, "--to", str(to), **variables)
    return result.exit_code, result.output


@pytest.fixture
def ada(adopter: Adopter) -> Account:
    """A user with two versions of one session, and another session that was deleted."""
    account = adopter.sign_up()
    account.approve("s1", FIRST)
    account.approve("s1", SECOND, version=2, comment="Go.", comments=[NOTE])
    gone = account.approve("s2", FIRST)
    account.http.post(
        "/rest/v1/rpc/delete_agent", json={"agent_id": gone["agent_id"]}, headers=account.headers
    ).raise_for_status()
    write_logs(adopter, account)
    return account


def write_logs(adopter: Adopter, account: Account) -> None:
    """Of three attempts at each build."""
    with psycopg.connect(adopter.stack.postgres.url("supabase_admin")) as database:
        database.execute(
            "insert into public.build_log (build_id, attempt, user_id, content)"
            " select id, n, user_id, 'Attempt ' || n from public.build, generate_series(1, 3) as n"
            " where user_id = %s",
            [account.id],
        )


def test_rows_and_documents(adopter: Adopter, ada: Account, tmp_path: Path) -> None:
    eve = adopter.sign_up()
    eve.approve("s1", b"# Hers\n")
    write_logs(adopter, eve)
    folder = tmp_path / "export"
    status, output = run(adopter, ada.id, folder)
    assert status == 0, output

    plans = lines(folder, "plan")
    assert [(plan["session_id"], plan["version"], plan["status"]) for plan in plans] == [
        ("s1", 1, "superseded"),
        ("s1", 2, "approved"),
        ("s2", 1, "approved"),
    ]
    assert all(plan["decided_at"] and plan["decided_aal"] == "aal1" for plan in plans)
    assert (plans[1]["comment"], plans[1]["comments"]) == ("Go.", [NOTE])
    assert plans[2]["deleted_at"]
    assert [event["kind"] for event in lines(folder, "agent_event")] == [
        "approved",
        "revised",
        "approved",
        "deleted",
    ]
    assert {event["actor"] for event in lines(folder, "agent_event")} == {ada.id}
    assert len(lines(folder, "agent")) == 2
    assert len(lines(folder, "build")) == 3
    logs = {(log["build_id"], log["attempt"]): log["content"] for log in lines(folder, "build_log")}
    assert logs == {
        (build["id"], attempt): f"Attempt {attempt}"
        for build in lines(folder, "build")
        for attempt in (1, 2, 3)
    }
    every = [row for table in export.TABLES for row in lines(folder, table)]
    assert {row["user_id"] for row in every} == {ada.id}

    documents = {path.relative_to(folder / "documents"): path.read_bytes() for path in folder.rglob("*.md")}
    assert documents == {
        Path(plan["session_id"], f"{plan['document_sha256']}.md"): FIRST if plan["version"] == 1 else SECOND
        for plan in plans
    }
    assert f"Written to {folder}:\n" in output
    assert "3 plan\n" in output
    assert "3 documents\n" in output


def test_only_their_owner_reads_the_files(adopter: Adopter, ada: Account, tmp_path: Path) -> None:
    earlier = os.umask(0o000)
    try:
        folder = tmp_path / "deeper" / "export"
        assert run(adopter, ada.id, folder)[0] == 0
        assert os.umask(0o000) == 0o000
    finally:
        os.umask(earlier)

    written = [folder.parent, folder, *folder.rglob("*")]
    assert len(written) > 10
    assert {path.stat().st_mode & 0o777 for path in written} == {0o700, 0o600}


def test_page_by_page_it_is_the_same(
    adopter: Adopter, ada: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", adopter.stack.settings.supabase_url)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", adopter.stack.keys.secret)
    user = uuid.UUID(ada.id)
    assert export.main(user=user, folder=tmp_path / "whole") == 0
    monkeypatch.setattr(admin, "PAGE", 1)
    assert export.main(user=user, folder=tmp_path / "paged") == 0
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")]
    assert len(files) == len(export.TABLES) + 3
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "paged" / file).read_bytes()


def test_a_document_without_a_plan_is_theirs_as_well(adopter: Adopter, tmp_path: Path) -> None:
    account = adopter.sign_up()
    path = f"{account.id}/draft/{sha256(FIRST)}.md"
    markdown = {**account.headers, "Content-Type": "text/markdown"}
    account.http.post(f"/storage/v1/object/plans/{path}", content=FIRST, headers=markdown).raise_for_status()
    assert run(adopter, account.id, tmp_path / "export")[0] == 0
    assert [file.read_bytes() for file in (tmp_path / "export/documents/draft").iterdir()] == [FIRST]


def test_a_document_that_is_not_what_its_hash_says_is_reported(adopter: Adopter, tmp_path: Path) -> None:
    account = adopter.sign_up()
    path = f"{account.id}/s1/{'0' * 64}.md"
    markdown = {**account.headers, "Content-Type": "text/markdown"}
    account.http.post(f"/storage/v1/object/plans/{path}", content=FIRST, headers=markdown).raise_for_status()
    status, output = run(adopter, account.id, tmp_path / "export")
    assert status == 1
    assert f"{path} does not have the hash" in output
    assert (tmp_path / "export/documents/s1" / f"{'0' * 64}.md").read_bytes() == FIRST


def test_an_unknown_user(adopter: Adopter, tmp_path: Path) -> None:
    status, output = run(adopter, str(uuid.uuid4()), tmp_path / "export")
    assert status == 1
    assert "There is no data of user" in output


def test_a_folder_that_is_there_is_left_alone(adopter: Adopter, ada: Account, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    status, output = run(adopter, ada.id, tmp_path)
    assert status == 2
    assert "--to" in output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_publishable_key_and_a_refused_key(adopter: Adopter, ada: Account, tmp_path: Path) -> None:
    key = adopter.stack.keys.publishable
    status, output = run(adopter, ada.id, tmp_path / "export", SUPABASE_SECRET_KEY=key)
    assert (status, "SUPABASE_SECRET_KEY" in output, key in output) == (2, True, False)
    status, output = run(
        adopter, ada.id, tmp_path / "export", SUPABASE_SECRET_KEY="sb_secret_of_another_project"
    )
    assert (status, "sb_secret" in output, (tmp_path / "export").exists()) == (3, False, False)


def test_what_an_interrupted_export_left_is_replaced(adopter: Adopter, ada: Account, tmp_path: Path) -> None:
    (tmp_path / "export.partial").mkdir()
    (tmp_path / "export.partial/plan.jsonl").write_text("half")
    assert run(adopter, ada.id, tmp_path / "export")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert len(lines(tmp_path / "export", "plan")) == 3


def test_an_answer_that_is_no_list_is_an_error(tmp_path: Path) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text="<html>"))
    with (
        httpx.Client(base_url="http://x", transport=transport) as http,
        pytest.raises(SupabaseUnavailableError),
    ):
        export.export(str(uuid.uuid4()), tmp_path / "export", Supabase(http))
