"""What the image's HEALTHCHECK runs: it asks the command that the container runs.

`serve` has to answer at /healthz. A builder notes until when it is healthy without another note, in the time of a file
(see builder/command.py): it is not if it hangs, or if its disk is full. The other commands end by themselves.
"""

import glob
import os
import re
import sys
import tempfile
import time
import urllib.request


def healthy(pid: int) -> bool:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 -- it starts faster without pathlib
        command = re.search(rb"\bgreenlight\0(\w+)", file.read())
    match command and command[1]:
        case b"build":
            notes = glob.glob(os.path.join(tempfile.gettempdir(), "greenlight-build-*", "ready"))  # noqa: PTH118, PTH207
            return any(os.stat(note).st_mtime > time.time() for note in notes)  # noqa: PTH116
        case b"serve" | None:
            url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/healthz"
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(url, timeout=3) as answer:
                return bool(answer.status == 200)
        case _:
            return True


if __name__ == "__main__":
    try:
        sys.exit(not healthy(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
    except OSError as error:
        sys.exit(f"unhealthy: {error}")
