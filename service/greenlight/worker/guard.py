"""A small process that ends a builder's commands when the builder has ended, however that happened.

Its argument is the directory in which the builder creates a directory for each build. It reads from a pipe that only
the builder holds: `+ GROUP` when a command starts, `- GROUP` when it has ended. At the end of the pipe it ends the
process groups that are left, and removes the directory. Without it, the command of a builder that was killed would run
on, beside the next attempt at the same build, and its document would stay on the disk.

It runs as a script of its own, and imports nothing of the package.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

TERM_SECONDS = 5.0


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, group = line.split()
        if sign == "+":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    send(signal.SIGTERM, groups)
    deadline = time.monotonic() + TERM_SECONDS
    while any(send(0, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(signal.SIGKILL, groups)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def send(number: int, groups: set[int]) -> list[int]:
    """Send a signal to the groups, and return those that are still there."""
    there = []
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            there.append(group)
    return there


if __name__ == "__main__":
    main()
