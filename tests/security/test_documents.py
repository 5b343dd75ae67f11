"""Any text goes through byte for byte, or is refused with the error that is documented for it."""

import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import SOAK
from tests.caller import Caller, expect_problem
from tests.plan import new_session, sha256

# Every code point, the ones that cannot be written included, and pieces that software likes to tidy up.
PIECES = st.sampled_from(
    [
        *("\r\n", "\n", "\r", "\ufeff", "e\u0301", "\u00e9", "\u212b", "\x00", "\ud800", "\udc00", "\x1a"),
        *("\x7f", "\u2028", "\u0085", "\u200b", "\u202e", "\U0001f468\u200d\U0001f469", "\uffff", "  \n\t"),
    ]
)
TEXT = st.text(st.characters(), max_size=200) | st.lists(PIECES | st.text(max_size=5), max_size=20).map(
    "".join
)
LARGE = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=4), st.integers(1, 300_000))


def documented(content: str) -> tuple[int, str] | None:
    """Return what the documentation says is the answer, or None where it is to be accepted."""
    if not content or "\x00" in content or any(0xD800 <= ord(c) <= 0xDFFF for c in content):
        return 422, "invalid_request"
    if len(content.encode()) > 1_048_576:
        return 413, "document_too_large"
    return None


@settings(
    max_examples=200 if SOAK else 60,
    deadline=None,
    derandomize=not SOAK,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=TEXT | LARGE)
@example("\ufeff# Plan\r\n")
@example("e\u0301")
@example("x" * 1_048_576)
@example("x" * 1_048_577)
@example("\u00e9" * 524_288)
@example("\U0001f680" * 262_144 + "x")
@example("\ud83d\ude80")
@example(" \n\t ")
@pytest.mark.soak
def test_any_text_goes_through_byte_for_byte_or_is_refused(user: Caller, content: str) -> None:
    session = new_session()
    # Half of a surrogate pair beside its other half is one character in JSON: that is what was sent, then.
    sent = content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    answer = user.approve(plan_id=session, content=content)

    refusal = documented(sent)
    if refusal is not None:
        expect_problem(answer, *refusal)
        assert user.rows("plan", session_id=f"eq.{session}") == []
        assert user.objects(session) == []
        return
    assert answer.status_code == 200, answer.text
    (plan,) = user.rows("plan", session_id=f"eq.{session}")
    assert user.read(plan["document_path"]) == sent.encode()
    assert plan["document_sha256"] == sha256(sent)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_no_normal_form_is_preferred(user: Caller, form: Any) -> None:
    content = unicodedata.normalize(form, "\u00c5ngstr\u00f6m \ufb01 \u1e9b\u0323 \uac00")
    answer = user.approved(content=content)
    (plan,) = user.rows("plan", id=f"eq.{answer['plan_id']}")
    assert user.read(plan["document_path"]) == content.encode()
