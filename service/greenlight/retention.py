"""`greenlight retention`: remove for good what nobody needs any more. See docs/retention.md.

It asks the database which agents were deleted long enough ago, and which documents no plan refers to. Both
answers may be outdated when it acts on them, and that does no harm. An agent is looked at again under the
locks that every other change takes. A document is removed through the Storage API, whose delete waits for the
lock (`for key share`) that an approval under way holds on the document's row; when that approval commits, the
foreign key of its plan refuses the delete. When the delete comes first, the approval waits in its turn, then
finds no document and says so. Storage removes the bytes only after the row. So a document that a plan refers
to stays, whatever this does; and this may run beside itself, and be killed at any moment.

It acts with the secret key, which is why it is a process of its own, with settings of its own.
"""

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
from postgrest import APIError, SyncPostgrestClient
from postgrest.types import CountMethod
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from storage3 import SyncStorageClient
from storage3.exceptions import StorageApiError

from greenlight.settings import Origin, SettingsError, read
from greenlight.upstream import BUCKET, UNREADABLE

# Agents that somebody is busy with are asked for again, so often and after so many seconds.
ATTEMPTS = 4
PAUSE_SECONDS = 0.5
SHOWN = 20  # of the documents that could not be removed, so many are named

DONE, LEFTOVERS, MISUSE, UNAVAILABLE, SIGNALLED = 0, 1, 2, 3, 128


class RetentionSettings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    supabase_url: Origin
    supabase_secret_key: SecretStr

    @field_validator("supabase_secret_key")
    @classmethod
    def _secret(cls, secret: SecretStr) -> SecretStr:
        key = secret.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("must be one line of printable ASCII")
        try:
            role = jwt.decode(key, options={"verify_signature": False}).get("role")
        except jwt.InvalidTokenError:  # not one of the older keys, which are tokens
            role = "anon" if key.startswith("sb_publishable_") else "service_role"
        if role != "service_role":
            raise ValueError("holds a key of another role; give the secret (service_role) one")
        return secret


class Unavailable(Exception):  # noqa: N818 -- what is unavailable is Supabase
    """Supabase cannot be reached, refuses the key or makes no sense: nothing more can be done now."""


class Stopped(Exception):  # noqa: N818 -- not an error
    """A signal asked for the end."""


@dataclass
class Tally:
    """What has been done so far."""

    agents: int = 0
    busy: int = 0
    documents: int = 0
    passed_over: int = 0  # no orphans any more: approved, or removed by another run
    kept: dict[str, str] = field(default_factory=dict)  # still orphans: why, by name


class Supabase:
    """The Data API and Storage with the secret key."""

    def __init__(self, settings: RetentionSettings, http: httpx.Client) -> None:
        key = settings.supabase_secret_key.get_secret_value()
        headers = {"apikey": key, "Authorization": f"Bearer {key}"}
        self._data = SyncPostgrestClient(
            f"{settings.supabase_url}/rest/v1", headers=headers, http_client=http, retry_enabled=False
        )
        self._bucket = SyncStorageClient(
            f"{settings.supabase_url}/storage/v1/", headers, http_client=http
        ).from_(BUCKET)

    def count_deleted(self, table: str, before: datetime) -> int:
        query = self._data.from_(table).select("id", count=CountMethod.exact).limit(1)
        return int(query.lt("deleted_at", before.isoformat()).execute().count or 0)

    def purge(self, before: datetime, batch_size: int) -> int:
        arguments: Any = {"deleted_before": before.isoformat(), "batch_size": batch_size}
        answer: Any = self._data.rpc("purge_deleted_agents", arguments).execute().data
        return int(answer)

    def orphans(self, grace: timedelta, batch_size: int) -> Iterator[dict[str, str]]:
        """Yield all documents that no plan refers to, ids by name, in batches, each asked for when needed."""
        last = ""
        while True:
            arguments: Any = {
                "older_than": f"{grace.total_seconds():.6f} seconds",
                "after_name": last,
                "batch_size": batch_size,
            }
            answer: Any = self._data.rpc("orphaned_documents", arguments).execute().data
            if not answer:
                return
            yield {str(row["name"]): str(row["id"]) for row in answer}
            last = str(answer[-1]["name"])

    def remove(self, names: list[str]) -> tuple[set[str], dict[str, str]]:
        """Remove these documents and return which are gone, and why others are not where Storage says so.

        Storage refuses a batch as a whole for the sake of one document, so a refused batch is halved until
        that one stands alone. What it may not remove it leaves out of its answer without a word.
        """
        try:
            answer: Any = self._bucket.remove(names)
        except StorageApiError as error:
            if len(names) == 1:
                return set(), {names[0]: f"{error.status} {error.code}"}
            half = len(names) // 2
            first, second = self.remove(names[:half]), self.remove(names[half:])
            return first[0] | second[0], first[1] | second[1]
        return {str(row["name"]) for row in answer} & set(names), {}


def connect() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(60, connect=5),
        event_hooks={"response": [_refuse_to_go_on]},
        trust_env=False,
    )


def _refuse_to_go_on(response: httpx.Response) -> None:
    if response.status_code in {401, 403}:
        raise Unavailable("Supabase refuses the key: SUPABASE_SECRET_KEY must be this project's secret key.")
    if response.status_code in {429, 502, 503, 504}:
        raise Unavailable(f"Supabase is busy or down: it answered {response.status_code}.")


def purge_agents(
    supabase: Supabase, before: datetime, batch_size: int, tally: Tally, stop: threading.Event
) -> None:
    """Purge the agents deleted before then, with their plans and events; their documents become orphans."""
    total = supabase.count_deleted("agent", before)
    for attempt in range(ATTEMPTS):
        while purged := supabase.purge(before, batch_size):
            tally.agents += purged
            say(f"Purged {tally.agents} of {total} agents.")
            _stop_if(stop)
        tally.busy = supabase.count_deleted("agent", before)
        if tally.busy == 0:
            return
        if attempt < ATTEMPTS - 1:
            stop.wait(PAUSE_SECONDS)
        _stop_if(stop)


def remove_documents(
    supabase: Supabase, grace: timedelta, batch_size: int, tally: Tally, stop: threading.Event
) -> None:
    """Remove the documents older than the grace period that no plan refers to."""
    total = sum(map(len, supabase.orphans(grace, batch_size)))
    unsure: dict[tuple[str, str], str] = {}
    for batch in supabase.orphans(grace, batch_size):
        removed, reasons = supabase.remove([*batch])
        tally.documents += len(removed)
        unsure |= {
            (name, id_): reasons.get(name, "no reason given")
            for name, id_ in batch.items()
            if name not in removed
        }
        say(f"Removed {tally.documents} of {total} documents.")
        _stop_if(stop)
    if unsure:
        # Not there any more, or stored again, or approved in the meantime: all as it should be.
        orphans = {orphan for batch in supabase.orphans(grace, batch_size) for orphan in batch.items()}
        kept = {name: reason for (name, id_), reason in unsure.items() if (name, id_) in orphans}
        tally.kept |= kept
        tally.passed_over += len(unsure) - len(kept)


def survey(
    supabase: Supabase, grace: timedelta, before: datetime, batch_size: int, stop: threading.Event
) -> None:
    """Tell what there would be to do."""
    agents, plans = (supabase.count_deleted(table, before) for table in ("agent", "plan"))
    documents = 0
    for batch in supabase.orphans(grace, batch_size):
        documents += len(batch)
        _stop_if(stop)
    say(f"Would purge {agents} agents with {plans} plans, whose documents would then be removed as well.")
    say(f"Would remove {documents} documents that no plan refers to.")
    say("Nothing was changed: this was a dry run. Act with --apply.")


def summarize(tally: Tally) -> None:
    say(f"Purged {tally.agents} agents and removed {tally.documents} documents.")
    if tally.passed_over:
        say(f"{tally.passed_over} documents were approved or removed by somebody else in the meantime.")
    if tally.busy:
        complain(f"{tally.busy} agents could not be purged: somebody is busy with them.")
    if tally.kept:
        complain(f"{len(tally.kept)} documents could not be removed:")
        for name, reason in list(tally.kept.items())[:SHOWN]:
            complain(f"  {name} ({reason})")
        if len(tally.kept) > SHOWN:
            complain(f"  and more: {dict(Counter(tally.kept.values()))}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _stop_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped


@dataclass(frozen=True)
class Options:
    apply: bool
    grace: timedelta
    keep_deleted: timedelta
    batch_size: int


def main(*, apply: bool, grace_hours: float, keep_deleted_days: float, batch_size: int) -> int:
    """Run it and return the exit status."""
    options = Options(apply, timedelta(hours=grace_hours), timedelta(days=keep_deleted_days), batch_size)
    try:
        settings = read(RetentionSettings)
    except SettingsError as error:
        complain(f"Retention cannot run with these settings:\n{error}")
        return MISUSE

    stop, received = threading.Event(), []

    def end_after_this_batch(number: int, _: Any) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once, which does no harm either

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_after_this_batch)

    tally = Tally()
    try:
        _run(settings, options, tally, stop)
    except Stopped:
        complain("Stopped by a signal; the next run goes on from here.")
        status = SIGNALLED + received[0]
    except Unavailable as error:
        complain(str(error))
        status = UNAVAILABLE
    else:
        status = LEFTOVERS if tally.kept or tally.busy else DONE
    if options.apply:
        summarize(tally)
    return status


def _run(settings: RetentionSettings, options: Options, tally: Tally, stop: threading.Event) -> None:
    grace = options.grace
    before = datetime.now(UTC) - options.keep_deleted
    try:
        with connect() as http:
            supabase = Supabase(settings, http)
            if options.apply:
                purge_agents(supabase, before, options.batch_size, tally, stop)
                remove_documents(supabase, grace, options.batch_size, tally, stop)
            else:
                survey(supabase, grace, before, options.batch_size, stop)
    except httpx.TransportError as error:
        cause = f"{type(error).__name__}: {error}"
        raise Unavailable(f"Supabase cannot be reached at {settings.supabase_url} ({cause}).") from None
    except APIError as error:
        raise Unavailable(f"Supabase refuses: {error.code} {error.message}") from None
    except UNREADABLE as error:
        raise Unavailable(f"Supabase's answer makes no sense ({type(error).__name__}).") from None
