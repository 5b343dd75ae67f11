"""Runs the code of the READMEs from an empty project with the packed file."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local import ROOT
from local.processes import Child, environment, free_ports
from tests.client.package import Run, output
from tests.conftest import RunningStack, User
from tests.plan import new_session

README = ROOT / "README.md"
PACKAGE = ROOT / "client" / "README.md"
PLAN = "# Plan the move\n\nPack the boxes, then the van.\n"

# What the lines take as given: the project's address and key, the user, and a way to show something.
GIVEN = """
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, email, password } = process.env;
const shown = [];
const show = (text) => shown.push(text);
"""
# The same, where the lines take the clients as given.
CLIENTS = """
import { createClient } from "@supabase/supabase-js";
const { secret_key, userId } = process.env;
const backend = createClient(SUPABASE_URL, secret_key);
const supabase = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY);
await supabase.auth.signInWithPassword({ email, password });
"""
# The watcher reports the agent some time later.
THEN = """
while (shown.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
stop();
console.log(JSON.stringify(shown));
"""


def lines(page: Path, language: str, use: str = "greenlight-client") -> str:
    """Return the one block of that language which uses the package, or a name of it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if use in block]
    return str(block)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def propose(node: Run, project: Path, user: User) -> str:
    """Return the planning session in which a planner has proposed a plan to this user."""
    session = new_session()
    (project / "propose.mjs").write_text("""
import { createClient } from "@supabase/supabase-js";
import { proposePlan } from "greenlight-client";
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, token, plan } = process.env;
const accessToken = () => Promise.resolve(token);
await proposePlan(createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, { accessToken }), JSON.parse(plan));
""")
    plan = {"sessionId": session, "version": 1, "title": "The move", "content": PLAN, "userId": user.id}
    node("propose.mjs", token=user.token, plan=json.dumps(plan))
    return session


def is_short(code: str) -> bool:
    return len([line for line in code.splitlines() if line and not line.startswith("//")]) <= 12


def test_the_ten_lines_propose_and_approve(stack: RunningStack, node: Run, project: Path) -> None:
    shown = lines(README, "js")
    assert is_short(shown)
    user = stack.sign_up()
    (project / "lines.mjs").write_text(GIVEN + CLIENTS + shown + THEN)
    variables = {"userId": user.id, "email": user.email, "password": user.password}
    printed = node("lines.mjs", **variables, secret_key=stack.secret_key)
    assert json.loads(printed) == ["# The move\n", "building"]


def test_the_ten_lines_of_the_package(stack: RunningStack, node: Run, project: Path) -> None:
    shown = lines(PACKAGE, "js")
    assert is_short(shown)
    user = stack.sign_up()
    propose(node, project, user)
    (project / "lines.mjs").write_text(GIVEN + shown + THEN)
    assert json.loads(node("lines.mjs", email=user.email, password=user.password)) == [PLAN, "building"]


def test_the_lines_that_comment_on_a_passage(stack: RunningStack, node: Run, project: Path) -> None:
    user = stack.sign_up()
    session = propose(node, project, user)
    (project / "comment.mjs").write_text(f"""
import {{ createClient }} from "@supabase/supabase-js";
import * as greenlight from "greenlight-client";
const {{ commentOn, decodeDocument, getDocument, getPlan, locateComment, requestChanges }} = greenlight;
{GIVEN}
const supabase = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY);
await supabase.auth.signInWithPassword({{ email, password }});
const sessionId = {json.dumps(session)}, version = 1;
const {{ bytes }} = await getDocument(supabase, await getPlan(supabase, {{ sessionId, version }}));
const mark = (place, body) => show([text.slice(place.start, place.end), body]);
{lines(PACKAGE, "js", "commentOn")}
console.log(JSON.stringify(shown));
""")
    marked = json.loads(node("comment.mjs", email=user.email, password=user.password))
    assert marked == [["the van", "Which one?"]]


def test_the_ten_lines_show_a_stranger_nothing(stack: RunningStack, node: Run, project: Path) -> None:
    propose(node, project, stack.sign_up())
    stranger = stack.sign_up()
    listing, rest = lines(PACKAGE, "js").split("const { session_id", 1)
    assert "approvePlan(" in rest
    (project / "stranger.mjs").write_text(f"{GIVEN}{listing}console.log(plans);")
    assert node("stranger.mjs", email=stranger.email, password=stranger.password) == "[]\n"


@pytest.fixture
def edge_function(deno_command: list[str | Path], stack: RunningStack, project: Path) -> Iterator[str]:
    """Serve the package's Edge Function in Deno, which is what Supabase's edge runtime is made of."""
    shutil.copytree(project / "node_modules" / "greenlight-client", project / "greenlight-client")
    (project / "function.ts").write_text(f"""
const {{ SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY }} = Deno.env.toObject();
{lines(PACKAGE, "ts")}""")
    output(deno_command[0], "check", "--no-remote", "--node-modules-dir=manual", "function.ts", cwd=project)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    variables = {
        "DENO_SERVE_ADDRESS": f"tcp:{address}",
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
    }
    child = Child(
        "The Edge Function",
        [*deno_command, "function.ts"],
        log=project / "function.log",
        env=environment(HOME=str(project), **variables),
        cwd=project,
    )
    child.start()
    try:
        child.wait_until(lambda: listens(port))
        yield f"http://{address}/"
    finally:
        child.stop()


def test_the_edge_function(edge_function: str, stack: RunningStack) -> None:
    user = stack.sign_up()
    plan = {"sessionId": "edge", "version": 1, "title": "The move", "content": PLAN}
    bearer = {"Authorization": f"Bearer {user.token}"}
    answer = httpx.post(edge_function, json=plan, headers=bearer, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "proposed")
    forged = {"Authorization": f"Bearer {user.token[:-4]}AAAA"}
    assert httpx.post(edge_function, json=plan, headers=forged, timeout=30).status_code == 401
    assert httpx.post(edge_function, json=plan, timeout=30).status_code == 401
