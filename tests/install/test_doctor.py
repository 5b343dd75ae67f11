"""`greenlight doctor`: each fault is put there, found, and taken away again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import LiteralString

import httpx
import pytest
from pydantic import SecretStr

from greenlight import admin, doctor, installation
from greenlight.doctor import RPCS, DoctorSettings, Finding, examine
from local.processes import free_ports
from tests.plan import sha256

from .conftest import Adopter


def faults(adopter: Adopter, *options: str, **variables: str) -> list[str]:
    """Run it and return the lines of what is wrong; its exit status agrees."""
    # A project that signs with keys of its own has no shared secret.
    result = adopter.greenlight("doctor", *options, **{"SUPABASE_JWT_SECRET": "", **variables})
    lines = result.output.splitlines()
    assert lines, result
    assert "Traceback" not in result.output
    found = [line for line in lines if line.startswith("FAIL")]
    assert result.exit_code == (1 if found else 0), result.output
    for line, next_line in zip(lines, [*lines[1:], ""], strict=True):
        assert not line.startswith("FAIL") or next_line, "how to fix it is missing"
    return found


def told(adopter: Adopter) -> str:
    return adopter.greenlight("doctor").output


@contextmanager
def fault(adopter: Adopter, there: LiteralString, mended: LiteralString) -> Iterator[None]:
    adopter.sql(there)
    try:
        yield
    finally:
        adopter.sql(mended)


def test_nothing_is_wrong(adopter: Adopter) -> None:
    assert faults(adopter) == []
    assert faults(adopter, SUPABASE_SECRET_KEY="") == []


def test_it_changes_nothing(adopter: Adopter) -> None:
    agent = adopter.sign_up().approve("s1", b"# A plan\n")
    rows = "select to_jsonb(b) from public.build b union all select to_jsonb(p) from public.plan p"
    before = adopter.sql(rows)
    assert str(agent["agent_id"]) in str(before)
    assert faults(adopter) == []
    assert adopter.sql(rows) == before


def test_it_knows_every_rpc_and_its_arguments(adopter: Adopter) -> None:
    rows = adopter.sql(
        "select proname::text, coalesce(proargnames[1:pronargs], '{}') from pg_proc"
        " where pronamespace = 'public'::regnamespace"
    )
    assert {name: tuple(arguments) for name, arguments in rows} == RPCS


def test_a_missing_variable(adopter: Adopter) -> None:
    (line,) = faults(adopter, SUPABASE_URL="")
    assert "Settings" in line


def test_a_secret_key_in_place_of_the_publishable_one(adopter: Adopter) -> None:
    result = adopter.greenlight("doctor", SUPABASE_PUBLISHABLE_KEY=adopter.stack.keys.secret)
    assert result.exit_code == 1
    assert "SUPABASE_PUBLISHABLE_KEY: holds a secret key" in result.output
    assert adopter.stack.keys.secret not in result.output


def test_a_publishable_key_in_place_of_the_secret_one(adopter: Adopter) -> None:
    result = adopter.greenlight("doctor", SUPABASE_SECRET_KEY=adopter.stack.keys.publishable)
    assert result.exit_code == 1
    assert "SUPABASE_SECRET_KEY: this is the publishable key" in result.output


def test_a_publishable_key_of_another_project(adopter: Adopter) -> None:
    (line,) = faults(adopter, SUPABASE_PUBLISHABLE_KEY="sb_publishable_of_another_project")
    assert "SUPABASE_PUBLISHABLE_KEY: refused" in line


def test_a_secret_key_of_another_project(adopter: Adopter) -> None:
    (line,) = faults(adopter, SUPABASE_SECRET_KEY="sb_secret_of_another_project")
    assert "SUPABASE_SECRET_KEY: refused" in line


def test_no_connection(adopter: Adopter) -> None:
    (line,) = faults(adopter, SUPABASE_URL=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert "no connection" in line


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Yield the address of a server that answers everything like this."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 -- its base class calls it so

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_that_is_not_supabase(adopter: Adopter) -> None:
    with answering(200, b"<html>Welcome</html>") as url:
        (line,) = faults(adopter, SUPABASE_URL=url)
    assert "does not answer like Supabase" in line


def test_mcp_behind_a_proxy(adopter: Adopter) -> None:
    def with_mcp(url: str) -> str:
        return adopter.greenlight("doctor", MCP="true", SERVICE_URL=url).output

    assert "MCP" not in told(adopter)
    with answering(401, b"") as url:
        assert f"ok    MCP: {url}/mcp answers\n" in with_mcp(url)
    with answering(421, b'{"detail": "Set ALLOWED_HOSTS=internal."}') as url:
        said = with_mcp(url)
    assert f"FAIL  MCP: {url}/mcp refuses the name of its host\n      Set ALLOWED_HOSTS=internal.\n" in said
    with answering(421, b"Invalid Host header") as url:
        assert "proxy_set_header Host" in with_mcp(url)
    with answering(200, b"<html>Welcome</html>") as url:
        assert f"FAIL  MCP: {url}/mcp answers 200" in with_mcp(url)
    nothing = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert f"warn  MCP: no answer from {nothing}/mcp (ConnectError)" in with_mcp(nothing)


def test_an_rpc_that_is_missing(adopter: Adopter) -> None:
    with fault(
        adopter,
        "alter function public.retry_build rename to retry_build_away",
        "alter function public.retry_build_away rename to retry_build",
    ):
        (line,) = faults(adopter, SUPABASE_SECRET_KEY="")
    assert line.endswith("of another version: retry_build")
    assert faults(adopter) == []


def test_an_rpc_of_an_earlier_version(adopter: Adopter) -> None:
    with fault(
        adopter,
        "alter function public.retry_build rename to retry_build_away;"
        " create function public.retry_build(id uuid) returns int language sql as 'select 1'",
        "drop function public.retry_build; alter function public.retry_build_away rename to retry_build",
    ):
        (line,) = faults(adopter, SUPABASE_SECRET_KEY="")
    assert line.endswith("of another version: retry_build")


def test_an_rpc_that_a_request_without_a_user_may_call(adopter: Adopter) -> None:
    with fault(
        adopter,
        "grant usage on schema greenlight to anon;"
        " grant execute on function public.purge_closed_plans, greenlight.purge_closed_plans to anon",
        "revoke usage on schema greenlight from anon;"
        " revoke execute on function public.purge_closed_plans, greenlight.purge_closed_plans from anon",
    ):
        (line,) = faults(adopter, SUPABASE_SECRET_KEY="")
    assert "without a user: purge_closed_plans" in line


def test_a_public_bucket(adopter: Adopter) -> None:
    with fault(
        adopter,
        "update storage.buckets set public = true where id = 'plans'",
        "update storage.buckets set public = false where id = 'plans'",
    ):
        (line,) = faults(adopter)
    assert "Bucket plans: public" in line


def test_a_missing_bucket(adopter: Adopter) -> None:
    with fault(
        adopter,
        # Without its foreign keys, for the moment: there are documents in it.
        "set local session_replication_role = replica; update storage.buckets set id = 'x' where id = 'plans'",
        "set local session_replication_role = replica; update storage.buckets set id = 'plans' where id = 'x'",
    ):
        (line,) = faults(adopter)
    assert "Bucket plans: missing" in line


def test_a_bucket_that_takes_less_than_the_service(adopter: Adopter) -> None:
    with fault(
        adopter,
        "update storage.buckets set file_size_limit = 1000 where id = 'plans'",
        "update storage.buckets set file_size_limit = 1048576 where id = 'plans'",
    ):
        (line,) = faults(adopter)
        assert "refuses documents" in line
        assert faults(adopter, MAX_DOCUMENT_BYTES="1000") == []


# What was lost in a dump or done by hand, and how it is called.
MISSING = {
    "drop trigger record_event on public.agent": "trigger record_event on public.agent",
    "drop index public.build_queue_idx": "index public.build_queue_idx",
    "drop policy greenlight_select_readable on storage.objects": "policy greenlight_select_readable on storage.objects",
    "alter table public.build disable row level security": "row level security of public.build",
    "alter table public.plan drop constraint plan_title_check": "constraint plan_title_check on public.plan",
    "drop function greenlight.trim_space": "function greenlight.trim_space(text)",
}
CHANGED = {
    "alter table public.agent disable trigger keep_build": "trigger keep_build on public.agent",
    "drop index public.plan_newest_idx; create index plan_newest_idx on public.plan (user_id)": "index "
    "public.plan_newest_idx",
    "alter policy select_own on public.plan using (true)": "policy select_own on public.plan",
    "alter table public.plan drop constraint plan_version_check,"
    " add constraint plan_version_check check (version >= 0)": "constraint plan_version_check on public.plan",
    "grant update (title) on public.plan to authenticated": "grants on table public.plan",
    "grant all on sequence public.agent_event_id_seq to anon": "grants on sequence public.agent_event_id_seq",
    "grant usage on schema greenlight to anon": "grants on schema greenlight",
    "grant execute on function greenlight.touch to anon": "grants on function greenlight.touch()",
    "create or replace function greenlight.keep_log() returns trigger language plpgsql as 'begin return old; end'":
    "function greenlight.keep_log()",
}  # fmt: skip


def test_what_is_missing_or_changed_is_found_and_mended(adopter: Adopter) -> None:
    for statement in (*MISSING, *CHANGED):
        adopter.sql(statement)
    ((answer,),) = adopter.sql("select public.installation()")
    found = installation.compare(answer["objects"])
    assert {*found.missing} == {*MISSING.values(), "grants on function greenlight.trim_space(text)"}
    assert {*found.changed} == {*CHANGED.values()}
    missing, changed = faults(adopter)
    assert "Installation: 7 missing in the database: " in missing
    assert "Installation: 9 changed in the database: " in changed

    result = adopter.greenlight("doctor", "--repair", "--project", str(adopter.directory))
    assert result.exit_code == 1
    (name,) = re.findall(r"^  (\d+_greenlight_repair\.sql)$", result.output, re.MULTILINE)
    assert name in adopter.pushed()
    assert faults(adopter) == []

    # It may run again, as in a reset, and does not count as a migration of ours.
    adopter.sql((adopter.directory / "supabase/migrations" / name).read_text())
    assert faults(adopter) == []
    check = adopter.greenlight("install", "--check", "--project", str(adopter.directory))
    assert "up to date" in check.output
    assert adopter.sign_up().approve("s1", b"# A plan\n")["created"] is True


def test_a_column_that_is_missing_is_named_and_not_made(adopter: Adopter) -> None:
    """Nothing but a backup has what was in it."""
    with fault(
        adopter,
        "alter table greenlight.trusted_client rename column client_id to client_id_away",
        "alter table greenlight.trusted_client rename column client_id_away to client_id",
    ):
        result = adopter.greenlight("doctor")
    (missing, fix), _ = pairwise_faults(result.output)
    assert (
        missing == "FAIL  Installation: 1 missing in the database: column greenlight.trusted_client.client_id"
    )
    assert "from a backup" in fix
    assert "--repair" not in fix


def pairwise_faults(output: str) -> list[tuple[str, str]]:
    return [(line, fix) for line, fix in pairwise(output.splitlines()) if line.startswith("FAIL")]


def test_a_repair_waits_for_the_migrations_of_this_version(adopter: Adopter) -> None:
    with fault(
        adopter,
        "alter table public.agent disable trigger touch",
        "alter table public.agent enable trigger touch",
    ):
        last = max((adopter.directory / "supabase/migrations").glob("*_greenlight_[0-9]*"))
        text = last.read_text()
        last.unlink()
        result = adopter.greenlight("doctor", "--repair", "--project", str(adopter.directory))
        last.write_text(text)
    assert result.exit_code == 1
    assert "Run `greenlight install` and push first" in result.output
    assert "_greenlight_repair.sql" not in result.output


def test_what_is_theirs_is_no_fault(adopter: Adopter) -> None:
    """A policy of theirs on our tables is told, because it may let others read."""
    with fault(
        adopter,
        "create policy support on public.plan for select to authenticated using (false);"
        " create trigger theirs before update on public.plan for each row"
        " execute function suppress_redundant_updates_trigger();"
        " create index theirs on public.plan (title)",
        "drop policy support on public.plan; drop trigger theirs on public.plan; drop index public.theirs",
    ):
        assert faults(adopter) == []
        assert "policies of the project on our tables: policy support on public.plan" in told(adopter)


def test_a_token_hook_is_a_warning_until_sessions_are_required(adopter: Adopter) -> None:
    """Whether it keeps client_id cannot be seen."""
    assert "ok    Token hook: none in the database" in told(adopter)
    with fault(
        adopter,
        "create function public.my_hook(event jsonb) returns jsonb language sql as 'select event';"
        " grant execute on function public.my_hook to supabase_auth_admin",
        "drop function public.my_hook; update greenlight.setting set require_session = false",
    ):
        assert faults(adopter) == []
        assert "warn  Token hook: public.my_hook(jsonb) may drop the claim client_id" in told(adopter)
        adopter.sql("update greenlight.setting set require_session = true")
        assert "ok    Token hook: public.my_hook(jsonb); require_session is on" in told(adopter)
        assert "require_session = true" in told(adopter)


def test_who_is_subscribed_and_what_has_waited_for_long(adopter: Adopter) -> None:
    user = adopter.sign_up()
    assert "ok    Notifications: no one is subscribed" in told(adopter)
    with fault(
        adopter,
        "select public.claim_notifications('mail'), public.claim_notifications('chat')",
        "delete from greenlight.notification; delete from greenlight.subscriber",
    ):
        user.approve("s1", b"# One")
        user.approve("s2", b"# Two")
        adopter.sql("update greenlight.notification set created_at = created_at - interval '59 minutes'")
        assert faults(adopter) == []
        text = told(adopter)
        assert "ok    Notifications: subscribed are chat, mail" in text
        assert "warn  Notifications" not in text
        adopter.sql("update greenlight.notification set created_at = created_at - interval '2 minutes'")
        adopter.sql(
            "update greenlight.notification as n set status = 'failed' from greenlight.subscriber as s"
            " where n.subscriber_id = s.id and s.name = 'chat' and n.data ->> 'session_id' = 's1'"
        )
        text = told(adopter)
        assert "warn  Notifications: 2 of mail have waited for more than an hour" in text
        assert "warn  Notifications: 1 of chat have waited for more than an hour" in text
        assert "warn  Notifications: 1 of chat could not be delivered" in text
        assert "of mail could not" not in text
        assert faults(adopter) == []


def function_of_teams(body: str, attributes: str = "stable security definer set search_path = ''") -> str:
    return (
        "create or replace function greenlight.approver_teams() returns setof uuid"
        f" language plpgsql {attributes} as $$ begin {body}; end $$"
    )


AS_INSTALLED = function_of_teams("return").replace("$$ begin return; end $$", "'begin return; end;'")
WRONG_TEAMS = {
    "return query select gen_random_uuid()": ("FAIL", "puts a user that does not exist into a team"),
    "raise 'no such table'": ("FAIL", "fails, and reads of plans with it: no such table"),
    "perform pg_sleep(0.02)": ("warn", " ms, and every read asks it"),
}
WRONG_ATTRIBUTES = {
    "volatile security definer set search_path = ''": "approver_teams() is volatile",
    "stable security definer": "approver_teams() has no search_path of its own",
    "stable set search_path = ''": "approver_teams() is security invoker",
}


def test_what_is_wrong_with_the_functions_of_the_projects_teams(adopter: Adopter) -> None:
    assert "ok    Teams: none; viewer_teams() and approver_teams() are as they were installed" in told(
        adopter
    )
    try:
        adopter.sql(function_of_teams("perform 1; return"))
        assert faults(adopter) == []
        output = told(adopter)
        assert "ok    Teams: the project's own approver_teams()\n" in output
        assert "Teams: greenlight" not in output
        # The project may grant it, to use it in its own policies.
        adopter.sql("grant execute on function greenlight.approver_teams to authenticated")
        assert faults(adopter) == []
        for body, (word, what) in WRONG_TEAMS.items():
            adopter.sql(function_of_teams(body))
            (line,) = (
                line for line in told(adopter).splitlines() if "approver_teams() " in line and what in line
            )
            assert line.startswith(word)
        for attributes, what in WRONG_ATTRIBUTES.items():
            adopter.sql(function_of_teams("perform 1; return", attributes))
            assert f"warn  Teams: greenlight.{what}" in told(adopter)
        adopter.sql("drop function greenlight.approver_teams")
        (line,) = faults(adopter)
        assert "Teams: greenlight.approver_teams() is missing" in line
    finally:
        adopter.sql(
            f"{AS_INSTALLED}; revoke all on function greenlight.approver_teams from public, authenticated;"
            " alter function greenlight.approver_teams owner to postgres"
        )
    assert "Teams: none" in told(adopter)
    assert faults(adopter) == []


def test_a_versioned_bucket() -> None:
    (finding,) = (
        finding
        for finding in doctor._facts(
            {
                "bucket": {"versioning_status": "ENABLED"},
                "settings": {},
                "sessions_name_the_client": True,
                "hooks": [],
                "subscribers": [],
                "teams": {},
            }
        )
        if finding.fix
    )
    assert finding.what == "Bucket plans: versioned, so a delete only hides a document"


def test_plans_without_their_bytes_and_bytes_without_a_plan(
    adopter: Adopter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restore: the bytes of one plan are lost, another one's are changed, and one document has no plan."""
    monkeypatch.setattr(admin, "PAGE", 2)  # several pages
    user = adopter.sign_up()
    plans = {name: f"# {name}\n".encode() for name in ("kept", "other", "lost", "changed")}
    for session, document in plans.items():
        user.approve(session, document)
    assert faults(adopter, "--documents") == []
    path = {name: f"{user.id}/{name}/{sha256(document)}.md" for name, document in plans.items()}
    stored = {name: stored_file(adopter, path[name]) for name in ("lost", "changed")}
    stored["lost"].unlink()
    stored["changed"].write_bytes(b"# another\n")
    adopter.sql(
        "insert into storage.objects (bucket_id, name, created_at) select 'plans',"
        " gen_random_uuid() || '/s/' || repeat('0', 64) || '.md', now() - interval '2 days' from generate_series(1, 3)"
    )

    result = adopter.greenlight("doctor", "--documents")
    assert result.exit_code == 1
    assert f"      {path['lost']}: missing\n" in result.output
    assert f"      {path['changed']}: other bytes\n" in result.output
    assert path["kept"] not in result.output
    assert "FAIL  Documents: 2 of the plans' documents are missing or have other bytes" in result.output
    assert "ok    Documents: 3 without a plan, older than 24 hours" in result.output
    assert faults(adopter) == []  # without the option, no document is read
    for name, file in stored.items():
        file.write_bytes(plans[name])
    assert faults(adopter, "--documents") == []
    (line,) = faults(adopter, "--documents", SUPABASE_SECRET_KEY="")
    assert "Documents: not checked" in line


def stored_file(adopter: Adopter, path: str) -> Path:
    """Return where the storage of the local stack keeps the bytes: its files have the versions as names."""
    versions = adopter.sql("select name, version from storage.objects where bucket_id = 'plans'")
    return next((adopter.directory / ".local").rglob(dict(versions)[path]))


class Altered(httpx.HTTPTransport):
    """A project whose answer to the first question, for its signing keys, is altered."""

    def __init__(self, keys: list[object] | None = None, ahead: float = 0) -> None:
        super().__init__()
        self.keys, self.ahead = keys, ahead

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if not request.url.path.endswith("/jwks.json"):
            return answer
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=self.ahead), usegmt=True)
        answer.read()
        keys = answer.json()["keys"] if self.keys is None else self.keys
        return httpx.Response(200, json={"keys": keys}, headers={"Date": date})


def examined(adopter: Adopter, transport: Altered, jwt_secret: str | None = None) -> list[Finding]:
    stack = adopter.stack
    settings = DoctorSettings(
        supabase_url=stack.settings.supabase_url,
        supabase_publishable_key=stack.keys.publishable,
        supabase_jwt_secret=SecretStr(jwt_secret) if jwt_secret else None,
    )
    with httpx.Client(base_url=settings.supabase_url, transport=transport) as http:
        return [finding for finding in examine(settings, http, []) if finding.fix is not None]


def test_no_signing_keys(adopter: Adopter) -> None:
    (finding,) = examined(adopter, Altered(keys=[]))
    assert "no token can be verified" in finding.what
    assert examined(adopter, Altered(keys=[]), adopter.stack.keys.jwt_secret) == []


@pytest.mark.parametrize(("ahead", "said"), [(60, "behind"), (-60, "ahead of")])
def test_a_clock_that_is_wrong(adopter: Adopter, ahead: float, said: str) -> None:
    (finding,) = examined(adopter, Altered(ahead=ahead))
    assert finding.what.startswith("Clock: ")
    assert said in finding.what
    assert examined(adopter, Altered(ahead=ahead / 60 * (doctor.MAX_SKEW_SECONDS - 5))) == []
