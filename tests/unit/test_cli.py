"""The command line: its help, its version, and how it refuses options."""

import pytest
from typer.testing import CliRunner

from greenlight import __version__
from greenlight.cli import app

COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, prog_name="greenlight")
    return result.exit_code, result.output


def test_the_version() -> None:
    assert run("--version") == (0, f"greenlight {__version__}\n")


def test_help_lists_every_command_in_a_line_of_its_own() -> None:
    status, text = run("--help")

    assert status == 0
    listed = text.partition("Commands:\n")[2].splitlines()
    assert COMMANDS == ["install", "doctor", "serve", "build", "notify", "retention", "export", "uninstall"]
    assert [line.split()[0] for line in listed] == COMMANDS
    assert not [line for line in listed if line.endswith("...")]  # no description is cut off


def test_the_help_of_build_has_its_variables_in_full() -> None:
    text = " ".join(run("build", "--help")[1].split())
    for name in ("BUILD_ID", "ATTEMPT", "AGENT_ID", "PLAN_ID", "USER_ID", "SESSION_ID", "VERSION", "TITLE"):
        assert f"GREENLIGHT_{name}" in text
    assert "GREENLIGHT_DOCUMENT_SHA256" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_described(command: str) -> None:
    status, text = run(command, "--help")

    assert status == 0
    assert text.startswith(f"Usage: greenlight {command}")
    assert "-h, --help" in text


def test_a_wrong_option_is_refused_with_the_option_s_name() -> None:
    for arguments in (["retention", "--grace-hours", "nan"], ["retention", "--aply"], ["nothing"]):
        status, text = run(*arguments)
        assert status == 2
        assert arguments[-2 if len(arguments) == 3 else -1] in text
        assert "Traceback" not in text
