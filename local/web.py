"""The web app: built when its sources are newer than what is there, and served."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from local import NODE, ROOT
from local.processes import Child, LocalError, environment

UI = ROOT / "ui"
# The web app compiles the npm client's source.
CLIENT = ROOT / "client" / "src"
NEXT = ROOT / "node_modules" / "next" / "dist" / "bin" / "next"
BUILD_ID = UI / ".next" / "BUILD_ID"


def build() -> None:
    """Build the web app unless nothing has changed since the last time. One build serves any Supabase.

    Raises:
        LocalError: it does not build.
    """
    with (UI / "package.json").open() as lock:
        # A second process waits here, and finds it built.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if BUILD_ID.exists() and max(_changes()) < BUILD_ID.stat().st_mtime:
            return
        print("  Building the web app (once, some minutes)", flush=True)
        result = subprocess.run(
            [NODE, NEXT, "build", UI], check=False, capture_output=True, text=True, env=_environment()
        )
    if result.returncode != 0:
        raise LocalError(f"The web app does not build:\n{result.stdout}{result.stderr}")


def web(  # noqa: PLR0913 - named after what each is in the environment
    supabase_url: str, publishable_key: str, service_url: str, port: int, log: Path, *, via: str = "service"
) -> Child:
    """The built web app, approving through the service or, with `via="direct"`, straight from the browser."""
    return Child(
        "web",
        # As "start" in ui/package.json.
        [
            NODE,
            "--max-http-header-size=65536",
            NEXT,
            "start",
            "--hostname",
            "127.0.0.1",
            "--port",
            str(port),
            UI,
        ],
        log=log,
        env=_environment(
            NEXT_PUBLIC_SUPABASE_URL=supabase_url,
            NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY=publishable_key,
            NEXT_PUBLIC_APPROVE_VIA=via,
            SERVICE_URL=service_url,
        ),
        cwd=UI,
    )


def _environment(**extra: str) -> dict[str, str]:
    return environment(NEXT_TELEMETRY_DISABLED="1", **extra)


def _changes() -> Iterator[float]:
    for name in ("package-lock.json", "docs/example-plan.md"):
        yield (ROOT / name).stat().st_mtime
    # What the build writes there itself does not count.
    made = {".next", "node_modules", "next-env.d.ts", "tsconfig.tsbuildinfo"}
    for directory, directories, files in chain(os.walk(UI), os.walk(CLIENT)):
        directories[:] = [name for name in directories if name not in made]
        if directory != str(UI):
            # A file that was deleted leaves no other trace.
            yield Path(directory).stat().st_mtime
        for name in files:
            if name not in made:
                yield (Path(directory) / name).stat().st_mtime
