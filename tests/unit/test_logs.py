"""What is logged of an exception: its type and place, never its message."""

import json
import logging

import pytest
import structlog

from greenlight import logs


def test_an_exception_is_described_without_its_message() -> None:
    def fail() -> None:
        try:
            int("a secret")
        except ValueError as error:
            raise RuntimeError("another secret") from error

    with pytest.raises(RuntimeError) as failure:
        fail()
    described = logs.describe(failure.value)

    assert described.startswith("RuntimeError at test_logs.py:")
    assert " < ValueError at test_logs.py:" in described
    assert "secret" not in described


def test_other_libraries_errors_are_logged_without_their_message_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("info")
        try:
            int("a secret")
        except ValueError:
            logging.getLogger("other").exception("It failed")
    finally:
        root.handlers, root.level = handlers, level
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
    entry = json.loads(capsys.readouterr().out)
    assert (entry["event"], entry["logger"]) == ("It failed", "other")
    assert entry["cause"].startswith("ValueError at test_logs.py:")
    assert "secret" not in str(entry)
