"""Follows docs/skill/SKILL.md to the letter, in a project that has nothing of ours."""

import re
import threading
import time
from pathlib import Path
from typing import Any

from .conftest import ROOT, Account, adopter_in

SKILL = (ROOT / "docs/skill/SKILL.md").read_text()
# What cannot be done here, and what shows it instead.
ELSEWHERE = {
    "git clone ": "this is the clone",
    "python3 -m venv ": "the tests' environment has what it installs; test_wheel.py makes one",
    "pip install ": "test_wheel.py and test_dockerfile.py",
}


def test_it_has_the_head_of_the_open_format() -> None:
    head, body = re.fullmatch(r"---\n(.*?)---\n(.*)", SKILL, re.DOTALL).groups()  # type: ignore[union-attr]
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fields["name"])
    assert len(fields["name"]) <= 64
    assert 0 < len(fields["description"]) <= 1024
    assert fields.keys() <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert len(body.splitlines()) < 500


def test_its_commands_end_with_an_agent(tmp_path: Path) -> None:
    with adopter_in(tmp_path) as adopter:
        user = adopter.sign_up()
        blocks = re.findall(r"^```sh\n(.*?)^```", SKILL, re.DOTALL | re.MULTILINE)
        lines = "".join(blocks).splitlines()
        script = ["set -eux", *(line for line in lines if not line.startswith(tuple(ELSEWHERE)))]
        assert len(script) == 7
        variables = adopter.stack.variables()
        commands = "\n".join(script)
        for placeholder, value in {
            "path/to/greenlight": str(ROOT),
            "https://<ref>.supabase.co": variables["SUPABASE_URL"],
            "sb_secret_…": variables["SUPABASE_SECRET_KEY"],
            "<user id>": user.id,
            # The push needs a linked project; this is its other form.
            "db push --remote": 'db push --remote="$DATABASE_URL" --yes',
        }.items():
            assert placeholder in commands
            commands = commands.replace(placeholder, value)
        # The Data API may not have read the new schema yet, and doctor says what to do.
        commands = commands.replace("greenlight doctor", "until greenlight doctor; do sleep 1; done")
        assert not re.search(r"<[a-z ]+>|…", commands)

        human = threading.Thread(target=review, args=[user])
        human.start()
        done = adopter.run("bash", "-c", commands)
        human.join()

        assert done.returncode == 0, done.stdout
        (agent,) = user.rows("agent")
        assert done.stdout.splitlines()[-3:] == [
            "waiting for version 1",
            "waiting for version 2",
            f"agent {agent['id']}",
        ]


def review(user: Account) -> None:
    """Send the first version back, and approve the second."""

    def proposed(version: int) -> Any:
        until = time.monotonic() + 120
        while True:
            answer = user.http.get(
                "/rest/v1/plan",
                headers=user.headers,
                params={"status": "eq.proposed", "version": f"eq.{version}"},
            )
            if answer.is_success and answer.json():  # before the push there is no such table
                return answer.json()[0]
            assert time.monotonic() < until, answer.text
            time.sleep(0.2)

    def decide(name: str, version: int, **more: Any) -> None:
        arguments = {"session_id": "my-session", "version": version, **more}
        user.http.post(f"/rest/v1/rpc/{name}", json=arguments, headers=user.headers).raise_for_status()

    proposed(1)
    passage = {"start": 14, "end": 19, "exact": "Drive", "body": "With what car?"}
    decide("request_changes", 1, comments=[passage])
    decide("approve_plan", 2, document_sha256=proposed(2)["document_sha256"])
