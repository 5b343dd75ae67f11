"""An app that adds the blocks, as docs/react.md says.

The app is what create-next-app 16.4 and `shadcn init` make. Its packages are locked beside it, those of the blocks
among them: the CLI finds them installed, and leaves npm alone.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from local import NODE
from local.processes import Child, environment, free_ports
from local.stack import answers
from tests.conftest import RunningStack
from tests.web.conftest import PATIENCE_MS, PLAN, Account, serve

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DOCS = (ROOT / "docs/react.md").read_text()
BLOCKS = ["greenlight", "plan-review", "plan-inbox", "agent-status", "greenlight-nextjs"]

# `npx shadcn@latest init` is what tests/registry is made with, and the packages are locked there.
NOT_HERE = r"npx shadcn@latest init|npm install"


class Registry(ThreadingHTTPServer):
    """Stands for ui.shadcn.com, and for the proxy to every other host: it keeps what is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        colors: dict[str, Any] = {
            "inlineColors": {"light": {}, "dark": {}},
            "cssVars": {"light": {}, "dark": {}},
        }
        body = json.dumps({**colors, "inlineColorsTemplate": "", "cssVarsTemplate": ""}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def snippets() -> dict[str, str]:
    """The page's code with the name of its file."""
    return dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE))


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
    return [line for line in "".join(blocks).splitlines() if not re.match(NOT_HERE, line)]


@pytest.fixture(scope="module")
def app(
    stack: RunningStack, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """The app with all blocks, built, and its address."""
    directory = tmp_path_factory.mktemp("adopter") / "app"
    shutil.copytree(
        HERE, directory, ignore=shutil.ignore_patterns("node_modules", ".next", "*.py", "__pycache__")
    )
    shutil.copytree(
        HERE / "node_modules", directory / "node_modules", symlinks=True, copy_function=link_or_copy
    )
    with serve(stack, "direct", tmp_path_factory.mktemp("web")) as web_app:
        replaced = {
            "path/to/greenlight": str(ROOT),
            "https://greenlight.example.com": web_app,
            "npx shadcn@latest": str(ROOT / "node_modules/.bin/shadcn"),
            "https://<ref>.supabase.co": stack.supabase_url,
            "sb_publishable_…": stack.publishable_key,
        }

        def filled_in(text: str) -> str:
            for placeholder, value in replaced.items():
                text = text.replace(placeholder, value)
            return text

        for name, text in snippets().items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(filled_in(text))
        proxy = {"HTTPS_PROXY": registry.url, "https_proxy": registry.url, "NO_PROXY": "127.0.0.1"}
        for command in commands():
            run(directory, *filled_in(command).split(), REGISTRY_URL=f"{registry.url}/r", **proxy)
        next_bin = directory / "node_modules/next/dist/bin/next"
        # In CI it would miss a cache.
        built = run(directory, str(NODE), str(next_bin), "build", CI="")
        assert not re.search(r"warn|⚠|deprecat", built, re.IGNORECASE), built
        (port,) = free_ports(1)
        start: list[str | Path] = [NODE, next_bin, "start", "--hostname", "127.0.0.1", "--port", str(port)]
        child = Child("adopter", start, log=directory.parent / "app.log", env=environment(), cwd=directory)
        child.start()
        try:
            child.wait_until(lambda: answers(f"http://127.0.0.1:{port}/"))
            yield directory, f"http://127.0.0.1:{port}"
        finally:
            child.stop()


def run(directory: Path, *command: str, **variables: str) -> str:
    result = subprocess.run(
        command,
        cwd=directory,
        env=environment(NEXT_TELEMETRY_DISABLED="1", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@contextmanager
def watched_page(browser: Browser, url: str, *hosts: str) -> Iterator[Page]:
    """A page that complains about nothing, and talks to these hosts only."""
    complaints: list[str] = []

    def on_request(request: Request) -> None:
        if urlsplit(request.url).netloc not in hosts and urlsplit(request.url).scheme not in ("data", "blob"):
            complaints.append(request.url)

    with browser.new_context(base_url=url) as context:
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", on_request)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        yield context.new_page()
    assert complaints == []


def test_a_plan_is_sent_back_and_its_next_version_approved_in_the_adopters_app(
    app: tuple[Path, str], browser: Browser, stack: RunningStack, account: Account
) -> None:
    _, url = app
    account.receive_proposal("move", title="Plan the move")
    hosts = [urlsplit(address).netloc for address in (url, stack.supabase_url)]
    with watched_page(browser, url, *hosts) as page:
        page.goto("/")
        page.get_by_label("Email").fill(account.user.email)
        page.get_by_label("Password").fill(account.user.password)
        page.get_by_role("button", name="Sign in").click()

        page.get_by_role("link", name="Plan the move").click()
        expect(page.get_by_role("heading", name="Boxes")).to_be_visible()
        page.get_by_role("button", name="Request changes").click()
        page.get_by_role("dialog").get_by_label("Comment").fill("Pack the books last.")
        page.get_by_role("dialog").get_by_role("button", name="Request changes").click()
        expect(page.get_by_text("Pack the books last.")).to_be_visible()

        account.receive_proposal(
            "move", title="Plan the move", version=2, content=PLAN + "\nLabel every box.\n"
        )
        page.goto("/plans")
        page.get_by_role("link", name="Plan the move").first.click()
        expect(page.get_by_text("Label every box.").first).to_be_visible()
        page.get_by_role("button", name="Approve plan").click()

        page.wait_for_url(re.compile(r"/agents/[0-9a-f-]{36}$"))
        expect(page.get_by_text("Building").first).to_be_visible()
        account.finish_building(page.url.rsplit("/", 1)[-1])
        expect(page.get_by_text("Active").first).to_be_visible()


def test_the_page_that_the_docs_show_reviews_a_plan(
    app: tuple[Path, str], browser: Browser, stack: RunningStack, account: Account
) -> None:
    _, url = app
    account.receive_proposal("own-page", title="Plan the move")
    hosts = [urlsplit(address).netloc for address in (url, stack.supabase_url)]
    with watched_page(browser, url, *hosts) as page:
        page.goto("/")
        page.get_by_label("Email").fill(account.user.email)
        page.get_by_label("Password").fill(account.user.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/plans")
        page.goto("/review/own-page")
        page.get_by_role("button", name="Approve plan").click()
        page.wait_for_url(re.compile(r"/agents/[0-9a-f-]{36}$"))


def test_no_other_registry_is_needed(app: tuple[Path, str], registry: Registry) -> None:
    """The CLI asks for the colours of the theme, whatever it adds, and reads nothing from them."""
    assert set(registry.asked) == {"/r/colors/neutral.json"}


def test_each_block_lands_where_the_docs_say(app: tuple[Path, str]) -> None:
    directory, _ = app
    config = json.loads((directory / "components.json").read_text())
    assert config == json.loads((HERE / "components.json").read_text())
    for name in ("plan-review", "plan-inbox", "agent-status"):
        assert (directory / f"components/greenlight/{name}.tsx").is_file()
    assert (directory / "lib/greenlight/client/index.ts").is_file()
    assert (directory / "app/plans/[sessionId]/page.tsx").is_file()
    # Theirs are untouched.
    assert (directory / "lib/utils.ts").read_text() == (HERE / "lib/utils.ts").read_text()
    css = (directory / "app/globals.css").read_text()
    assert "--color-warning: var(--warning);" in css
    assert re.sub(r"\s+", "", (HERE / "app/globals.css").read_text().splitlines()[0]) in re.sub(
        r"\s+", "", css
    )


def test_every_package_of_a_block_is_locked_here() -> None:
    """Else the test would need npm, and would run with versions of that day."""
    packages = json.loads((HERE / "package.json").read_text())
    locked = {**packages["dependencies"], **packages["devDependencies"]}
    assert set(BLOCKS) == {path.stem for path in (ROOT / "ui/public/r").glob("*.json")} - {"registry"}
    for name in BLOCKS:
        block = json.loads((ROOT / f"ui/public/r/{name}.json").read_text())
        assert {*block.get("dependencies", []), *block.get("devDependencies", [])} <= set(locked), name
        assert "registryDependencies" not in block


def test_the_app_has_the_versions_of_the_web_app() -> None:
    ours = json.loads((ROOT / "ui/package.json").read_text())
    known = {**ours["dependencies"], **ours["devDependencies"]}
    theirs = json.loads((HERE / "package.json").read_text())
    # create-next-app compiles Tailwind with a loader that has no 4.3.5.
    different = {
        name for name, version in theirs["dependencies"].items() if known.get(name, version) != version
    }
    assert different == set()
