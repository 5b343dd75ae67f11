"""One plan through every door: MCP, the browser, the npm client, the builder, and MCP again."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from local import NODE, ROOT
from local.processes import Child, environment
from tests.mcp.planner import connected
from tests.web.conftest import Account, OpenPage
from tests.web.test_proposals import review, say

Json = Any

APPROVE = """
import { createClient } from "@supabase/supabase-js";
import { approvePlan, getDocument, listProposals } from "greenlight-client";
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, token } = process.env;
const supabase = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, { accessToken: () => Promise.resolve(token) });
const { plans } = await listProposals(supabase);
const { session_id: sessionId, version } = plans[0];
const { bytes } = await getDocument(supabase, plans[0]);
console.log(JSON.stringify(await approvePlan(supabase, { sessionId, version, content: bytes })));
"""


def planner(account: Account, tool: str, **arguments: Json) -> dict[str, Json]:
    """Call a tool as an OAuth client of the user. In a thread: the browser's driver has this one's event loop."""

    async def call() -> dict[str, Json]:
        token = account.stack.token_for(account.user, client_id="a-planner")
        async with connected(account.stack, token) as client:
            return await client.done(tool, **arguments)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(call())).result()


def test_one_plan_goes_through_every_door(
    open_page: OpenPage, account: Account, project: Path, tmp_path: Path
) -> None:
    stack = account.stack
    first = planner(account, "propose_plan", title="Mail", content="# Mail\n\n1. Read it\n2. Answer it\n")
    session = first["session_id"]

    page = open_page(user=account.user)
    review(page, session)
    say(page, "Request changes", "Answer politely, please.")
    expect(page.get_by_text("You asked for changes to version 1.")).to_be_visible()

    decision = planner(account, "get_decision", session_id=session, version=1, wait_seconds=45)
    assert (decision["status"], decision["comment"]) == ("changes_requested", "Answer politely, please.")
    plan = "# Mail\n\n1. Read it\n2. Answer it politely\n"
    assert planner(account, "propose_plan", title="Mail", content=plan, session_id=session)["version"] == 2

    variables = environment(
        SUPABASE_URL=stack.supabase_url,
        SUPABASE_PUBLISHABLE_KEY=stack.publishable_key,
        token=account.user.token,
    )
    approved = subprocess.run(
        [NODE, "--input-type=module", "-e", APPROVE],
        env=variables, cwd=project, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert approved.returncode == 0, approved.stderr
    agent_id = json.loads(approved.stdout)["agent_id"]

    builder = Child(
        "builder",
        [
            sys.executable,
            "-m",
            "greenlight",
            "build",
            "--",
            "sh",
            "-c",
            f'cp "$GREENLIGHT_DOCUMENT" "{tmp_path}/$GREENLIGHT_AGENT_ID.md"',
        ],
        log=tmp_path / "builder.log",
        env=environment(SUPABASE_URL=stack.supabase_url, SUPABASE_SECRET_KEY=stack.secret_key),
        cwd=ROOT,
    )
    builder.start()
    try:
        page.goto(f"/build/{agent_id}")
        expect(page.get_by_role("region", name="History").get_by_text("Now active")).to_be_visible()
    finally:
        builder.stop()
    assert (tmp_path / f"{agent_id}.md").read_text() == plan

    seen = planner(account, "get_decision", session_id=session, version=2)
    assert (seen["status"], seen["agent_id"], seen["agent_status"]) == ("approved", agent_id, "active")
    assert seen["build"]["status"] == "succeeded"
