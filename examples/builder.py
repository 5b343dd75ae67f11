"""An example builder to copy and change: it reads the plan's steps, reports each of them, and builds nothing.

`make up` runs it as `greenlight build -- python /path/to/examples/builder.py`. Replace `work_on` with work of your own.
"""

import os
import re
import time
from pathlib import Path

SECONDS = 5.0  # for the whole plan
MOST = 20  # steps that are worked on


def steps(plan: str) -> list[str]:
    """Return the tasks of the plan (`- [ ] …`), or else its numbered points, or else its headings."""
    for pattern in (r"[-*+] \[[ xX]\] +(.+)", r"\d+[.)] +(.+)", r"#+ +(.+)"):
        if found := re.findall(rf"^[ ]{{0,3}}{pattern}$", plan, re.MULTILINE):
            return [step.strip() for step in found]
    return ["The whole plan"]


def work_on(_step: str, seconds: float) -> None:
    time.sleep(seconds)


def main() -> None:
    print("This is the example builder. It builds nothing.")
    plan = Path(os.environ["GREENLIGHT_DOCUMENT"]).read_text(encoding="utf-8")
    todo = steps(plan)[:MOST]
    for number, step in enumerate(todo):
        print(f"::progress {100 * number // len(todo)} {step}", flush=True)
        work_on(step, SECONDS / len(todo))
    print("::progress 100 Done. This was the example builder: it builds nothing.")


if __name__ == "__main__":
    main()
