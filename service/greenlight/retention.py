"""`greenlight retention`: remove for good what is no longer needed. See docs/retention.md.

It asks the database which agents were deleted long enough ago, which plans were closed long ago without an
approval, and which documents no plan refers to. The answers may be outdated when it acts on them, and that does
no harm. An agent or a plan is checked again under the locks that every other change takes. A document is removed
through the Storage API, whose delete waits for the lock (`for key share`) that an approval under way holds on the
document's row; when that approval commits, the foreign key of its plan refuses the delete. When the delete comes
first, the approval waits in its turn, then fails because it finds no document. Storage removes the bytes only after the
row. So a document that a plan refers to is never removed, several runs may overlap, and a run may be killed at
any moment.

It uses the secret key, so it is a process of its own, with its own settings.
"""

import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from pydantic import TypeAdapter

from greenlight.admin import SecretSettings, Supabase, SupabaseError, connect
from greenlight.exits import Exit
from greenlight.settings import SettingsError, read_settings

# Agents that another transaction has locked are asked for again, this often and after this many seconds.
ATTEMPTS = 4
PAUSE_SECONDS = 0.5
SHOWN = 20  # how many of the documents that could not be removed are named

_NUMBER = TypeAdapter(int)


class StoppedError(Exception):
    """A signal asked to stop."""


@dataclass(frozen=True)
class Options:
    apply: bool
    grace: timedelta
    keep_deleted: timedelta
    keep_closed: timedelta
    keep_logs: timedelta
    keep_notifications: timedelta
    batch_size: int


@dataclass
class Stats:
    """What has been done so far."""

    agents: int = 0
    locked: int = 0
    plans: int = 0
    logs: int = 0
    notifications: int = 0
    documents: int = 0
    no_longer_orphans: int = 0  # approved, or removed by another run
    kept: dict[str, str] = field(default_factory=dict)  # still orphans: why, by name


def purge_agents(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the agents deleted before then, with their plans and events; their documents become orphans."""
    total = count_deleted(supabase, "agent", before)
    arguments = {"deleted_before": before.isoformat(), "batch_size": batch_size}
    for attempt in range(ATTEMPTS):
        while purged := supabase.rpc("purge_deleted_agents", arguments, _NUMBER):
            stats.agents += purged
            typer.echo(f"Purged {stats.agents} of {total} agents.")
            _stop_if(stop)
        stats.locked = count_deleted(supabase, "agent", before)
        if stats.locked == 0:
            return
        if attempt < ATTEMPTS - 1:
            stop.wait(PAUSE_SECONDS)
        _stop_if(stop)


def purge_plans(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the plans closed before then that were never approved; their documents become orphans."""
    arguments = {"closed_before": before.isoformat(), "batch_size": batch_size}
    while purged := supabase.rpc("purge_closed_plans", arguments, _NUMBER):
        stats.plans += purged
        typer.echo(f"Purged {stats.plans} closed plans.")
        _stop_if(stop)


def purge_logs(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the logs of builds that ended before then."""
    arguments = {"ended_before": before.isoformat(), "batch_size": batch_size}
    while purged := supabase.rpc("purge_build_logs", arguments, _NUMBER):
        stats.logs += purged
        typer.echo(f"Purged {stats.logs} logs.")
        _stop_if(stop)


def purge_notifications(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the notifications of then that were not delivered, and subscribers that do not claim any more."""
    arguments = {"before": before.isoformat(), "batch_size": batch_size}
    while purged := supabase.rpc("purge_notifications", arguments, _NUMBER):
        stats.notifications += purged
        typer.echo(f"Purged {stats.notifications} notifications and subscribers.")
        _stop_if(stop)


def remove_documents(
    supabase: Supabase, grace: timedelta, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Remove the documents older than the grace period that no plan refers to."""
    total = sum(map(len, supabase.orphans(grace, batch_size)))
    unsure: dict[tuple[str, str], str] = {}
    for batch in supabase.orphans(grace, batch_size):
        removed, reasons = supabase.remove([*batch])
        stats.documents += len(removed)
        unsure |= {
            (name, id_): reasons.get(name, "no reason given")
            for name, id_ in batch.items()
            if name not in removed
        }
        typer.echo(f"Removed {stats.documents} of {total} documents.")
        _stop_if(stop)
    if unsure:
        # The others are gone, were stored again, or were approved in the meantime. All of that is fine.
        orphans = {orphan for batch in supabase.orphans(grace, batch_size) for orphan in batch.items()}
        kept = {name: reason for (name, id_), reason in unsure.items() if (name, id_) in orphans}
        stats.kept |= kept
        stats.no_longer_orphans += len(unsure) - len(kept)


def count_deleted(supabase: Supabase, table: str, before: datetime) -> int:
    return supabase.count(table, deleted_at=f"lt.{before.isoformat()}")


def count_closed(supabase: Supabase, before: datetime) -> int:
    """Return how many plans were closed before then without an approval; a session's newest may have to stay."""
    then = before.isoformat()
    closed = (
        f"and(status.in.(changes_requested,rejected,withdrawn),decided_at.lt.{then})",
        f"and(status.eq.proposed,expires_at.lt.{then})",
        f"and(status.eq.superseded,decided_at.is.null,updated_at.lt.{then})",
    )
    return supabase.count("plan", **{"or": f"({','.join(closed)})"})


def dry_run(supabase: Supabase, options: Options, now: datetime, stop: threading.Event) -> None:
    """Report what there is to do."""
    before = now - options.keep_deleted
    agents, plans = (count_deleted(supabase, table, before) for table in ("agent", "plan"))
    closed = count_closed(supabase, now - options.keep_closed)
    logs = supabase.count(
        "build_log", select="build_id", updated_at=f"lt.{(now - options.keep_logs).isoformat()}"
    )
    documents = 0
    for batch in supabase.orphans(options.grace, options.batch_size):
        documents += len(batch)
        _stop_if(stop)
    typer.echo(
        f"Would purge {agents} agents with {plans} plans, whose documents would then be removed as well."
    )
    typer.echo(f"Would purge at most {closed} plans that were closed without an approval.")
    typer.echo(f"Would purge at most {logs} logs of builds.")
    typer.echo("Would purge old notifications; how many there are is not known to the Data API.")
    typer.echo(f"Would remove {documents} documents that no plan refers to.")
    typer.echo("Nothing was changed: this was a dry run. Use --apply to remove.")


def summarize(stats: Stats) -> None:
    typer.echo(
        f"Purged {stats.agents} agents and {stats.plans} closed plans, and removed {stats.documents} documents."
    )
    if stats.logs:
        typer.echo(f"Purged {stats.logs} logs of builds.")
    if stats.notifications:
        typer.echo(f"Purged {stats.notifications} notifications and subscribers.")
    if stats.no_longer_orphans:
        typer.echo(
            f"{stats.no_longer_orphans} documents were approved or removed by another process in the meantime."
        )
    if stats.locked:
        typer.echo(
            f"{stats.locked} agents could not be purged: another transaction has locked them.", err=True
        )
    if stats.kept:
        typer.echo(f"{len(stats.kept)} documents could not be removed:", err=True)
        for name, reason in list(stats.kept.items())[:SHOWN]:
            typer.echo(f"  {name} ({reason})", err=True)
        if len(stats.kept) > SHOWN:
            typer.echo(f"  and more: {dict(Counter(stats.kept.values()))}", err=True)


def _stop_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError


def main(options: Options) -> int:
    """Run it and return the exit status."""
    try:
        settings = read_settings(SecretSettings)
    except SettingsError as error:
        typer.echo(f"Retention cannot run with these settings:\n{error}", err=True)
        return Exit.MISUSE

    stop, received = threading.Event(), []

    def end_after_this_batch(number: int, _: Any) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once, which does no harm either

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_after_this_batch)

    stats = Stats()
    try:
        with connect(settings) as supabase:
            _run(supabase, options, stats, stop)
    except StoppedError:
        typer.echo("Stopped by a signal; the next run continues from here.", err=True)
        status = Exit.SIGNALLED + received[0]
    except SupabaseError as error:
        typer.echo(error, err=True)
        status = Exit.UNAVAILABLE
    else:
        status = Exit.INCOMPLETE if stats.kept or stats.locked else Exit.DONE
    if options.apply:
        summarize(stats)
    return status


def _run(supabase: Supabase, options: Options, stats: Stats, stop: threading.Event) -> None:
    now = datetime.now(UTC)
    if options.apply:
        purge_agents(supabase, now - options.keep_deleted, options.batch_size, stats, stop)
        purge_plans(supabase, now - options.keep_closed, options.batch_size, stats, stop)
        purge_logs(supabase, now - options.keep_logs, options.batch_size, stats, stop)
        purge_notifications(supabase, now - options.keep_notifications, options.batch_size, stats, stop)
        remove_documents(supabase, options.grace, options.batch_size, stats, stop)
    else:
        dry_run(supabase, options, now, stop)
