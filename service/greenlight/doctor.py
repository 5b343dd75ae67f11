"""`greenlight doctor`: finds common problems between the service and its Supabase project, and says how to fix them.

It changes nothing. It reads the service's settings, and the secret key if it is set: it needs the key to check what is
installed in the database, and the bucket.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import typer

from greenlight import BUCKET, documents, installation
from greenlight.admin import SCHEMA, SecretSettings, SupabaseError, connect, secret_headers
from greenlight.exits import Exit
from greenlight.install import errors_told, find_project, require_complete, write
from greenlight.installation import Differences
from greenlight.keys import SecretKey
from greenlight.settings import Settings, SettingsError, read_settings

# The service accepts tokens with a leeway of 30 s. Warn before a clock is that wrong.
MAX_SKEW_SECONDS = 10

SHOWN = 8  # how many names are listed
SLOW_MILLISECONDS = 5  # for a function that is part of every read
YOUNG = timedelta(hours=24)  # such a document may be about to be approved

REPAIR = "Run `greenlight doctor --repair` in the project and push: it writes a migration that fixes this."

# Every RPC of this version, with its arguments. The Data API finds a function by the names of its arguments, so a
# function of another version counts as missing.
RPCS = {
    "propose_plan": (
        "session_id",
        "version",
        "title",
        "document_sha256",
        "document_url",
        "expires_at",
        "user_id",
        "message",
        "team_id",
    ),
    "approve_plan": (
        "session_id",
        "version",
        "title",
        "document_sha256",
        "document_url",
        "comment",
        "comments",
        "user_id",
    ),
    "request_changes": ("session_id", "version", "comment", "comments", "user_id"),
    "reject_plan": ("session_id", "version", "comment", "comments", "user_id"),
    "withdraw_plan": ("session_id", "version", "user_id"),
    "transition_agent": ("agent_id", "to_status"),
    "delete_agent": ("agent_id",),
    "restore_agent": ("agent_id",),
    "deleted_agents": (),
    "plan_teams": (),
    "display_names": ("plan_ids",),
    "latest_changes": ("agent_ids", "session_ids", "user_ids", "waiting", "decided"),
    "claim_builds": ("worker", "max_builds", "lease_seconds"),
    "renew_build": ("build_id", "attempt", "progress", "message", "lease_seconds", "log"),
    "finish_build": ("build_id", "attempt", "result", "log"),
    "fail_build": ("build_id", "attempt", "message", "retry", "log"),
    "retry_build": ("agent_id",),
    "stop_build": ("agent_id",),
    "claim_notifications": ("subscriber", "max_notifications", "lease_seconds"),
    "finish_notification": ("notification_id", "attempt"),
    "fail_notification": ("notification_id", "attempt", "message", "retry", "retry_seconds"),
    "forget_subscriber": ("subscriber",),
    "orphaned_documents": ("older_than", "after_name", "batch_size"),
    "purge_deleted_agents": ("deleted_before", "batch_size"),
    "purge_closed_plans": ("closed_before", "batch_size"),
    "purge_build_logs": ("ended_before", "batch_size"),
    "purge_notifications": ("before", "batch_size"),
    "installation": (),
}


class DoctorSettings(Settings):
    supabase_secret_key: SecretKey | None = None


class Finding(NamedTuple):
    what: str
    fix: str | None = None  # None: nothing is wrong
    warning: bool = False  # to be looked at, and perhaps nothing is wrong


def main(*, repair: bool, check_documents: bool, project: Path) -> int:
    differences: list[Differences] = []
    status = _report(differences, check_documents=check_documents)
    if repair and any(differences):
        _repair(differences[0], project)
    return status


@errors_told()
def _repair(differences: Differences, project: Path) -> None:
    root = find_project(project)
    require_complete(root)
    typer.echo("")
    write(root, [installation.repair(differences)], dry_run=False)


def _report(differences: list[Differences], *, check_documents: bool) -> int:
    """Tell every finding, and add what differs in the database."""
    try:
        settings = read_settings(DoctorSettings)
    except SettingsError as error:
        _tell(Finding(f"Settings:\n{error}", "Set these variables, as docs/configuration.md says."))
        return Exit.INCOMPLETE
    _tell(Finding("Settings: complete, and each key is of the right kind"))
    status: int = Exit.DONE
    with httpx.Client(base_url=settings.supabase_url, timeout=10, trust_env=False) as http:
        try:
            findings = examine(settings, http, differences)
            more = _documents(settings) if check_documents else ()
            for finding in chain(findings, _mcp(settings), more):
                _tell(finding)
                if finding.fix is not None and not finding.warning:
                    status = Exit.INCOMPLETE
        except httpx.TransportError as error:
            _tell(
                Finding(
                    f"Address: no connection to {settings.supabase_url} ({type(error).__name__}: {error})",
                    "Check SUPABASE_URL, the name server, the firewall and the proxy. A paused project has to be "
                    "restored in the dashboard.",
                )
            )
            return Exit.INCOMPLETE
    return status


def examine(
    settings: DoctorSettings, http: httpx.Client, differences: list[Differences]
) -> Iterator[Finding]:
    """Yield the findings, in the order in which to fix them, and add what differs in the database.

    Raises httpx.TransportError when Supabase cannot be reached.
    """
    answer = http.get("/auth/v1/.well-known/jwks.json")
    keys = _json(answer).get("keys")
    if not isinstance(keys, list):
        yield Finding(
            f"Address: {settings.supabase_url} does not answer like Supabase (status {answer.status_code})",
            "SUPABASE_URL must be the project's URL, as the dashboard shows it under API settings.",
        )
        return
    yield Finding(f"Address: {settings.supabase_url} answers")
    yield _clock(answer)
    yield _signing_keys(settings, keys)

    publishable = {"apikey": settings.supabase_publishable_key, **SCHEMA}
    yield (accepted := _key("SUPABASE_PUBLISHABLE_KEY", publishable, http))
    if accepted.fix is None:
        yield from _rpcs(publishable, http)

    if settings.supabase_secret_key is None:
        yield Finding(
            f"Installation and bucket {BUCKET}: not checked, because SUPABASE_SECRET_KEY is not set"
        )
        return
    secret = secret_headers(settings.supabase_secret_key.get_secret_value())
    yield (accepted := _key("SUPABASE_SECRET_KEY", secret, http))
    if accepted.fix is None:
        yield from _installation(_json(http.post("/rest/v1/rpc/installation", headers=secret)), differences)
        yield _bucket(settings, http.get(f"/storage/v1/bucket/{BUCKET}", headers=secret))


def _clock(answer: httpx.Response) -> Finding:
    try:
        skew = (datetime.now(UTC) - parsedate_to_datetime(answer.headers["Date"])).total_seconds()
    except (KeyError, ValueError):
        return Finding("Clock: not checked, because Supabase's answer has no date")
    if abs(skew) > MAX_SKEW_SECONDS:
        return Finding(
            f"Clock: {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Supabase's",
            "Synchronise this machine's clock (NTP). From 30 s on, valid tokens are refused or expired ones accepted.",
        )
    return Finding("Clock: agrees with Supabase's")


def _signing_keys(settings: DoctorSettings, keys: list[Any]) -> Finding:
    if keys:
        return Finding(f"Signing keys: {len(keys)} published")
    if settings.supabase_jwt_secret is not None:
        return Finding("Signing keys: none published; SUPABASE_JWT_SECRET is set instead")
    return Finding(
        "Signing keys: none published, and SUPABASE_JWT_SECRET is not set: no token can be verified",
        "Let the project sign with an asymmetric key (dashboard, JWT signing keys), or set SUPABASE_JWT_SECRET to its "
        "legacy shared secret.",
    )


def _key(name: str, headers: dict[str, str], http: httpx.Client) -> Finding:
    answer = http.get("/auth/v1/settings", headers=headers)
    if answer.is_success:
        return Finding(f"{name}: accepted")
    return Finding(
        f"{name}: refused (status {answer.status_code})",
        "Take the key from this project's dashboard, under API keys. A key that was revoked, or is of another "
        "project, is refused.",
    )


def _rpcs(headers: dict[str, str], http: httpx.Client) -> Iterator[Finding]:
    """Call each RPC without a user. A function that exists refuses the call and changes nothing."""
    missing, answering = [], []
    for name, arguments in RPCS.items():
        answer = http.post(f"/rest/v1/rpc/{name}", headers=headers, json=dict.fromkeys(arguments))
        code = _json(answer).get("code")
        if answer.is_server_error:
            yield Finding(
                f"Data API: answers {answer.status_code} {code}",
                "The database is down, restarting or overloaded: see the project's dashboard and logs.",
            )
            return
        if code == "PGRST202":
            missing.append(name)
        elif code != "42501":
            answering.append(name)
    if missing:
        yield Finding(
            f"RPCs: missing, or of another version: {', '.join(missing)}",
            "Run `greenlight install` in the project and push. If you have just done that, let the Data API reload its "
            "schema: notify pgrst, 'reload schema'",
        )
    if answering:
        yield Finding(
            f"RPCs: can be called without a user: {', '.join(answering)}",
            "These functions are granted to anon. Revoke that, in public and in greenlight.",
        )
    if not missing and not answering:
        yield Finding(f"RPCs: all {len(RPCS)} of this version exist")


def _installation(answer: dict[str, Any], differences: list[Differences]) -> Iterator[Finding]:
    if "objects" not in answer:
        yield Finding(
            f"Installation: not checked ({answer.get('code')} {answer.get('message')})",
            "Run `greenlight install` in the project and push.",
        )
        return
    difference = installation.compare(answer["objects"])
    differences.append(difference)
    for names, what in ((difference.missing, "missing"), (difference.changed, "changed")):
        columns = [name for name in names if not installation.can_repair(name)]
        rest = [
            name for name in names if name not in {*columns, f"bucket {BUCKET}"}
        ]  # _bucket() tells of that one
        if columns:
            yield Finding(
                f"Installation: {len(columns)} {what} in the database: {_some(columns)}",
                "Restore it from a backup. If the database has another version of Greenlight than this command, "
                "run `greenlight install` in the project and push.",
            )
        if rest:
            yield Finding(f"Installation: {len(rest)} {what} in the database: {_some(rest)}", REPAIR)
    if not difference:
        yield Finding("Installation: tables, functions, policies, triggers, indexes and grants are complete")
    if difference.policies_of_theirs:
        yield Finding(
            f"Installation: policies of the project on our tables: {_some(difference.policies_of_theirs)}"
        )
    yield from _facts(answer["facts"])


def _facts(facts: dict[str, Any]) -> Iterator[Finding]:
    if (facts["bucket"] or {}).get("versioning_status") not in {None, "DISABLED"}:
        yield Finding(
            f"Bucket {BUCKET}: versioned, so a delete only hides a document",
            "Suspend versioning of this bucket; it cannot be switched off again. What retention removes stays stored "
            "until its versions are deleted in the dashboard.",
        )
    settings = facts["settings"] or {}
    told = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    yield Finding(f"Project's settings: {told}")
    yield from _subscribers(facts["subscribers"])
    yield from _teams(facts["teams"])
    if not facts["sessions_name_the_client"]:
        yield Finding(
            "OAuth clients: auth.sessions does not name them here, so only the claim client_id of a token does",
            "Supabase Auth has named them there since September 2025: update it if you run it yourself.",
            warning=True,
        )
    if not facts["hooks"]:
        yield Finding("Token hook: none in the database (one behind an HTTP address cannot be seen here)")
    elif settings.get("require_session"):
        yield Finding(f"Token hook: {_some(facts['hooks'])}; require_session is on")
    else:
        yield Finding(
            f"Token hook: {_some(facts['hooks'])} may drop the claim client_id (this cannot be seen here)",
            "If it does, an OAuth client that signs out passes for its user: "
            "update greenlight.setting set require_session = true",
            warning=True,
        )


def _subscribers(subscribers: list[dict[str, Any]]) -> Iterator[Finding]:
    """Tell who gets notifications, and of whom they wait."""
    if not subscribers:
        yield Finding("Notifications: no one is subscribed, so none are written")
        return
    yield Finding(f"Notifications: subscribed are {_some([one['name'] for one in subscribers])}")
    for one in subscribers:
        if one["late"]:
            yield Finding(
                f"Notifications: {one['late']} of {one['name']} have waited for more than an hour",
                "Run the notifier of this subscriber. If there is none any more: "
                f"select public.forget_subscriber('{one['name']}')",
                warning=True,
            )
        if one["failed"]:
            yield Finding(
                f"Notifications: {one['failed']} of {one['name']} could not be delivered, and are not tried again",
                "Read why: select message, * from greenlight.notification where status = 'failed'",
                warning=True,
            )


def _teams(functions: dict[str, dict[str, Any] | None]) -> Iterator[Finding]:
    """Tell what the project says of its teams, and what is wrong with how it says it."""
    replaced = [f"{name}()" for name, facts in sorted(functions.items()) if facts and facts["replaced"]]
    if replaced:
        yield Finding(f"Teams: the project's own {' and '.join(replaced)}")
    else:
        yield Finding("Teams: none; viewer_teams() and approver_teams() are as they were installed")
    for name, facts in sorted(functions.items()):
        function = f"Teams: greenlight.{name}()"
        if facts is None:
            yield Finding(
                f"{function} is missing, so reads of plans fail",
                "Create it again, by your own migration: docs/teams.md has it.",
            )
            continue
        if facts["error"]:
            yield Finding(
                f"{function} fails, and reads of plans with it: {facts['error']}",
                "It must never raise: docs/teams.md has examples.",
            )
        if facts["stranger_is_in"]:
            yield Finding(
                f"{function} puts a user that does not exist into a team, and so every stranger",
                "Filter by auth.uid() in it: no policy does, because it runs as its owner.",
            )
        if facts["volatile"]:
            yield Finding(f"{function} is volatile", "Make it stable.", warning=True)
        if not facts["definer"]:
            yield Finding(
                f"{function} is security invoker",
                "Make it security definer, so that it reads the same tables wherever it is called.",
                warning=True,
            )
        if not facts["search_path"]:
            yield Finding(
                f"{function} has no search_path of its own",
                "Add `set search_path = ''`, and qualify the names in it.",
                warning=True,
            )
        if facts["milliseconds"] > SLOW_MILLISECONDS:
            yield Finding(
                f"{function} takes {facts['milliseconds']} ms, and every read asks it",
                "It needs an index that begins with the user.",
                warning=True,
            )


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _bucket(settings: DoctorSettings, answer: httpx.Response) -> Finding:
    bucket = _json(answer)
    if not answer.is_success:
        return Finding(
            f"Bucket {BUCKET}: missing (status {answer.status_code}, {bucket.get('message')})",
            REPAIR,
        )
    if bucket.get("public") is not False:
        return Finding(
            f"Bucket {BUCKET}: public, so everyone who knows a document's path can read it",
            REPAIR,
        )
    limit, types = bucket.get("file_size_limit"), bucket.get("allowed_mime_types")
    if (limit is not None and limit < settings.max_document_bytes) or (
        types and "text/markdown" not in types
    ):
        return Finding(
            f"Bucket {BUCKET}: refuses documents that the service accepts (at most {limit} bytes, of {types})",
            f"Let it accept {settings.max_document_bytes} bytes of text/markdown, or lower MAX_DOCUMENT_BYTES.",
        )
    return Finding(f"Bucket {BUCKET}: private, and accepts documents")


def _mcp(settings: DoctorSettings) -> Iterator[Finding]:
    """Call the planners' tools without a token, at the address that planners use."""
    if not settings.mcp:
        return
    url = f"{settings.service_url}/mcp"
    try:
        answer = httpx.post(url, timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        yield Finding(
            f"MCP: no answer from {url} ({type(error).__name__})",
            "Start the service; SERVICE_URL must be its address as planners reach it.",
            warning=True,
        )
        return
    if answer.status_code == 401:
        yield Finding(f"MCP: {url} answers")
    elif answer.status_code == 421:
        yield Finding(
            f"MCP: {url} refuses the name of its host",
            _json(answer).get("detail")
            or "Let the proxy in front of it pass the Host header on (nginx: proxy_set_header Host $host).",
        )
    else:
        yield Finding(
            f"MCP: {url} answers {answer.status_code} to a call without a token, instead of 401",
            "SERVICE_URL must be the address of the service itself, and MCP on there.",
        )


def _documents(settings: DoctorSettings) -> Iterator[Finding]:
    """Read every document: plans without their bytes, and how many documents have no plan."""
    if settings.supabase_secret_key is None:
        yield Finding("Documents: not checked", "Set SUPABASE_SECRET_KEY.")
        return
    secret = SecretSettings(
        supabase_url=settings.supabase_url, supabase_secret_key=settings.supabase_secret_key
    )
    try:
        with connect(secret) as supabase:
            count = 0
            for count, fault in enumerate(documents.faulty(supabase), 1):  # noqa: B007
                typer.echo(f"      {fault.path}: {fault.why}")
            without_plan = sum(map(len, supabase.orphans(YOUNG)))
    except SupabaseError as error:
        yield Finding(f"Documents: not all checked. {error}", "Run this again later.")
        return
    if count:
        yield Finding(
            f"Documents: {count} of the plans' documents are missing or have other bytes; they are listed above",
            'Copy them back from a backup of the bucket: docs/deploy.md, "Back up and restore". A plan without '
            "its document is never built; propose it again as a higher version.",
        )
    else:
        yield Finding("Documents: each plan's is there, with the right hash")
    yield Finding(
        f"Documents: {without_plan} without a plan, older than 24 hours; `greenlight retention` removes them"
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _tell(finding: Finding) -> None:
    what = finding.what.replace("\n", "\n      ")
    word = "ok" if finding.fix is None else "warn" if finding.warning else "FAIL"
    typer.echo(f"{word:<4}  {what}")
    if finding.fix is not None:
        typer.echo(f"      {finding.fix}")
