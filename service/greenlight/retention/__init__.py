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
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlight.retention.client import Supabase, Unavailable, connect
from greenlight.retention.settings import RetentionSettings
from greenlight.settings import SettingsError, read

# Agents that another transaction has locked are asked for again, this often and after this many seconds.
ATTEMPTS = 4
PAUSE_SECONDS = 0.5
SHOWN = 20  # how many of the documents that could not be removed are named

DONE, LEFTOVERS, MISUSE, UNAVAILABLE, SIGNALLED = 0, 1, 2, 3, 128


class Stopped(Exception):  # noqa: N818 -- not an error
    """A signal asked to stop."""


@dataclass(frozen=True)
class Options:
    apply: bool
    grace: timedelta
    keep_deleted: timedelta
    keep_closed: timedelta
    batch_size: int


@dataclass
class Stats:
    """What has been done so far."""

    agents: int = 0
    locked: int = 0
    plans: int = 0
    documents: int = 0
    no_longer_orphans: int = 0  # approved, or removed by another run
    kept: dict[str, str] = field(default_factory=dict)  # still orphans: why, by name


def purge_agents(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the agents deleted before then, with their plans and events; their documents become orphans."""
    total = supabase.count_deleted("agent", before)
    for attempt in range(ATTEMPTS):
        while purged := supabase.purge_deleted_agents(before, batch_size):
            stats.agents += purged
            print_out(f"Purged {stats.agents} of {total} agents.")
            _stop_if(stop)
        stats.locked = supabase.count_deleted("agent", before)
        if stats.locked == 0:
            return
        if attempt < ATTEMPTS - 1:
            stop.wait(PAUSE_SECONDS)
        _stop_if(stop)


def purge_plans(
    supabase: Supabase, before: datetime, batch_size: int, stats: Stats, stop: threading.Event
) -> None:
    """Purge the plans closed before then that were never approved; their documents become orphans."""
    while purged := supabase.purge_closed_plans(before, batch_size):
        stats.plans += purged
        print_out(f"Purged {stats.plans} closed plans.")
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
        print_out(f"Removed {stats.documents} of {total} documents.")
        _stop_if(stop)
    if unsure:
        # The others are gone, were stored again, or were approved in the meantime. All of that is fine.
        orphans = {orphan for batch in supabase.orphans(grace, batch_size) for orphan in batch.items()}
        kept = {name: reason for (name, id_), reason in unsure.items() if (name, id_) in orphans}
        stats.kept |= kept
        stats.no_longer_orphans += len(unsure) - len(kept)


def dry_run(supabase: Supabase, options: Options, now: datetime, stop: threading.Event) -> None:
    """Report what there is to do."""
    before = now - options.keep_deleted
    agents, plans = (supabase.count_deleted(table, before) for table in ("agent", "plan"))
    closed = supabase.count_closed(now - options.keep_closed)
    documents = 0
    for batch in supabase.orphans(options.grace, options.batch_size):
        documents += len(batch)
        _stop_if(stop)
    print_out(
        f"Would purge {agents} agents with {plans} plans, whose documents would then be removed as well."
    )
    print_out(f"Would purge at most {closed} plans that were closed without an approval.")
    print_out(f"Would remove {documents} documents that no plan refers to.")
    print_out("Nothing was changed: this was a dry run. Use --apply to remove.")


def summarize(stats: Stats) -> None:
    print_out(
        f"Purged {stats.agents} agents and {stats.plans} closed plans, and removed {stats.documents} documents."
    )
    if stats.no_longer_orphans:
        print_out(
            f"{stats.no_longer_orphans} documents were approved or removed by another process in the meantime."
        )
    if stats.locked:
        print_err(f"{stats.locked} agents could not be purged: another transaction has locked them.")
    if stats.kept:
        print_err(f"{len(stats.kept)} documents could not be removed:")
        for name, reason in list(stats.kept.items())[:SHOWN]:
            print_err(f"  {name} ({reason})")
        if len(stats.kept) > SHOWN:
            print_err(f"  and more: {dict(Counter(stats.kept.values()))}")


def print_out(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command


def print_err(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _stop_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped


def main(options: Options) -> int:
    """Run it and return the exit status."""
    try:
        settings = read(RetentionSettings)
    except SettingsError as error:
        print_err(f"Retention cannot run with these settings:\n{error}")
        return MISUSE

    stop, received = threading.Event(), []

    def end_after_this_batch(number: int, _: Any) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once, which does no harm either

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_after_this_batch)

    stats = Stats()
    try:
        with connect() as http:
            _run(Supabase(settings, http), options, stats, stop)
    except Stopped:
        print_err("Stopped by a signal; the next run continues from here.")
        status = SIGNALLED + received[0]
    except Unavailable as error:
        print_err(str(error))
        status = UNAVAILABLE
    else:
        status = LEFTOVERS if stats.kept or stats.locked else DONE
    if options.apply:
        summarize(stats)
    return status


def _run(supabase: Supabase, options: Options, stats: Stats, stop: threading.Event) -> None:
    now = datetime.now(UTC)
    if options.apply:
        purge_agents(supabase, now - options.keep_deleted, options.batch_size, stats, stop)
        purge_plans(supabase, now - options.keep_closed, options.batch_size, stats, stop)
        remove_documents(supabase, options.grace, options.batch_size, stats, stop)
    else:
        dry_run(supabase, options, now, stop)
