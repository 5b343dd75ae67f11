"""docs/builder.md: its curl calls work as they stand, its queries find what they are for, its tables are complete."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
import typer.main

from greenlight import cli
from greenlight.builder.command import variables
from local import ROOT
from tests.builder.conftest import Owner, new_job
from tests.conftest import RunningStack

PAGE = (ROOT / "docs" / "builder.md").read_text()
CALLS = re.findall(
    r"```sh\n(.*?)```", PAGE[PAGE.index("## The protocol") : PAGE.index("## What is guaranteed")], re.DOTALL
)
ALERTS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


def shell(stack: RunningStack, directory: Path, *blocks: str) -> str:
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SUPABASE_URL": stack.supabase_url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_five_calls(stack: RunningStack, owner: Owner, tmp_path: Path) -> None:
    rpc, claim, read, renew, finish, fail = CALLS
    agent = owner.approved(content="# What was approved\n")["agent_id"]

    shell(stack, tmp_path, rpc, claim, read, renew)
    assert (tmp_path / "plan.md").read_text() == "# What was approved\n"
    row = owner.build(agent)
    assert (row["worker"], row["progress"], row["message"]) == ("my builder", 40, "Writing tests")

    stack.make_due(agent)
    shell(stack, tmp_path, rpc, claim, fail)
    assert owner.status(agent) == ("building", "queued", 2)
    assert owner.build(agent)["message"] == "The oven is broken."

    stack.make_due(agent)
    assert '"active"' in shell(stack, tmp_path, rpc, claim, finish, finish)  # a repeat gets the same answer
    assert owner.status(agent) == ("active", "succeeded", 3)


# What makes each of the queries return the build, in the order of the page.
TROUBLE = [
    "status = 'queued', run_after = now() - interval '6 minutes'",
    "status = 'running', attempt = 1, started_at = now(), run_after = now() - interval '2 minutes'",
    "status = 'queued', attempt = 3",
    "status = 'failed', attempt = 5, started_at = now(), finished_at = now()",
    "status = 'running', attempt = 1, started_at = now() - interval '3 hours', run_after = now() + interval '1 minute'",
]


@pytest.mark.parametrize(("query", "trouble"), [*zip(ALERTS, TROUBLE, strict=True)])
def test_an_alert_speaks_when_it_should(stack: RunningStack, owner: Owner, query: str, trouble: str) -> None:
    agent = owner.approved()["agent_id"]
    if stack.local is None:
        pytest.skip("making a build look so needs the superuser of a local Supabase")
    with psycopg.connect(stack.local.postgres.url("supabase_admin")) as connection:
        # As on a day without trouble: a build that has just been approved.
        assert connection.execute(query).fetchall() == []
        connection.execute("set local session_replication_role = replica")  # no trigger minds
        connection.execute(f"update public.build set {trouble} where agent_id = %s", (agent,))
        (row,) = connection.execute(query).fetchall()
        assert str(row[1]) == agent
        connection.rollback()


@pytest.mark.anyio
async def test_the_page_has_every_option_and_variable(tmp_path: Path) -> None:
    command = typer.main.get_command(cli.app).commands["build"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert options - {"--help"} == set(re.findall(r"^\| .*`(--[a-z-]+)`.*$", PAGE, re.MULTILINE)) | set(
        re.findall(r"`(--metrics-[a-z]+)`", PAGE)
    )
    job, _ = new_job(comment="Blue.", comments=[], team_id="a team")
    assert set(variables(job, tmp_path)) == set(re.findall(r"`(GREENLIGHT_[A-Z0-9_]+)`", PAGE))
