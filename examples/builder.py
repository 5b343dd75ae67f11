"""An example builder to copy and change: it reads the plan's steps, reports each, and makes a page of the plan.

`make up` runs it as `greenlight build --share-log -- python /path/to/examples/builder.py`, and serves what is in
PAGES_DIRECTORY at PAGES_URL. Replace `work_on` and `page` with work of your own.
"""

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from html import escape
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


def page(build: Mapping[str, str], plan: str, done: Sequence[str]) -> str:
    """Return the page. What a planner wrote is not to be trusted: all of it is escaped, and nothing in it runs."""
    title = escape(build["GREENLIGHT_TITLE"])
    note = build.get("GREENLIGHT_COMMENT")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ max-width: 45rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif }}
li::marker {{ content: "✓ " }}
pre, blockquote {{ padding: 1rem; background: #f4f4f5; white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>Built from version {escape(build["GREENLIGHT_VERSION"])} of the plan.</p>
{f"<blockquote>{escape(note)}</blockquote>" if note else ""}
<h2>Done</h2>
<ul>{"".join(f"<li>{escape(step)}</li>" for step in done)}</ul>
<h2>The plan</h2>
<pre>{escape(plan)}</pre>
</main>
</body>
</html>
"""


def publish(html: str, build: Mapping[str, str]) -> str:
    """Show the page in one step, at an address that no other attempt has; return it."""
    name = f"{build['GREENLIGHT_BUILD_ID']}-{build['GREENLIGHT_ATTEMPT']}.html"
    shown = Path(build["PAGES_DIRECTORY"], name)
    hidden = shown.with_suffix(".new")
    hidden.write_bytes(html.encode())
    hidden.replace(shown)
    return f"{build['PAGES_URL']}/{name}"


def main() -> None:
    build = os.environ
    plan = Path(build["GREENLIGHT_DOCUMENT"]).read_bytes().decode()
    todo = steps(plan)[:MOST]
    for number, step in enumerate(todo):
        print(f"::progress {100 * number // len(todo)} {step}", flush=True)
        work_on(step, SECONDS / len(todo))
        print(f"\033[32m✓\033[0m {''.join(filter(str.isprintable, step))}", flush=True)
    url = publish(page(build, plan, todo), build)
    result = {"url": url, "summary": f"A page with the plan and its steps, {len(todo)} of them."}
    Path(build["GREENLIGHT_RESULT"]).write_text(json.dumps(result), encoding="utf-8")
    print("::progress 100 The page is there.")


if __name__ == "__main__":
    main()
