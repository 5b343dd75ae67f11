"""Requests to approve and propose: what is accepted, and what is refused with which code."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight import submission
from greenlight.comments import WHITE_SPACE
from greenlight.errors import Problem
from greenlight.submission import ApprovePlanRequest, ProposePlanRequest, Submission
from tests.plan import BAD_FIELDS, LIMIT, VALID_TITLES, body, encode, is_seen, sha256


def parsed(request: bytes) -> Submission:
    return submission.submission_of(submission.parse(ApprovePlanRequest, request), LIMIT)


def test_a_bad_field_is_refused() -> None:
    # tests/security/test_input.py sends them over HTTP.
    for changed, _, code in BAD_FIELDS:
        with pytest.raises(Problem) as refused:
            parsed(encode(body(**changed)))
        assert refused.value.code == code, ascii(changed)[:100]


def test_the_first_wrong_argument_of_the_rpc_is_told() -> None:
    wrong = {
        "plan_id": ("a b", "invalid_session_id"),
        "version": (0, "invalid_version"),
        "title": ("", "invalid_title"),
        "content_sha256": ("x", "invalid_document_sha256"),
        "expires_in_seconds": (1, "invalid_expires_at"),
        "message": (" ", "invalid_message"),
        "team_id": ("a team", "invalid_team_id"),
    }
    while wrong:
        fields = {name: value for name, (value, _) in wrong.items()}
        with pytest.raises(Problem) as refused:
            submission.parse(ProposePlanRequest, encode(body(**fields)))
        first = next(iter(wrong))
        assert refused.value.code == wrong.pop(first)[1]


def test_a_wrong_type_is_told_before_a_wrong_value() -> None:
    with pytest.raises(Problem) as refused:
        parsed(encode(body(plan_id="a b", content=7)))
    assert (refused.value.code, [*refused.value.fields]) == ("invalid_request", ["content"])


PASSAGE = {"start": 2, "end": 6, "exact": "plan", "body": "Whose?"}
WRONG_COMMENTS: list[tuple[Any, str]] = [
    (7, ""),
    ([PASSAGE] * 201, ""),
    ([PASSAGE, 7], "[1]"),
    ([PASSAGE, {**PASSAGE, "end": 7}, 7], "[1]"),  # not as long as the passage
    ([{**PASSAGE, "secret": 1}], "[0]"),
    ([{**PASSAGE, "start": -1, "end": 3}], "[0].start"),
    ([{**PASSAGE, "start": "2"}], "[0].start"),
    ([{**PASSAGE, "start": True, "end": 5}], "[0].start"),
    ([{**PASSAGE, "start": 2.5}], "[0].start"),
    ([{**PASSAGE, "end": 1_048_577}], "[0].end"),
    ([{"start": 2, "end": 6, "exact": "plan"}], "[0].body"),
    ([{**PASSAGE, "body": " \u3000"}], "[0].body"),
    ([{**PASSAGE, "body": "x" * 4001}], "[0].body"),
    ([{**PASSAGE, "exact": "", "end": 2}], "[0].exact"),
    ([{**PASSAGE, "exact": "x" * 4001, "end": 4003}], "[0].exact"),
]


def test_wrong_comments_have_one_code_and_the_first_of_them_is_named() -> None:
    for comments, place in WRONG_COMMENTS:
        with pytest.raises(Problem) as refused:
            submission.parse(ApprovePlanRequest, encode(body(comments=comments)))
        assert refused.value.code == "invalid_comments", comments
        assert refused.value.detail.startswith(f"comments{place}: "), refused.value.detail
        assert "secret" not in refused.value.detail


def test_right_comments_are_taken() -> None:
    twice = [PASSAGE, {**PASSAGE, "start": 2.0, "body": "\U0001f600" * 4000}]
    request = submission.parse(ApprovePlanRequest, encode(body(comment="Go.", comments=twice)))
    assert request.comment == "Go."
    assert [each.model_dump() for each in request.comments or []] == [PASSAGE, {**twice[1], "start": 2}]
    assert not submission.parse(ApprovePlanRequest, encode(body(comment=None, comments=[]))).comments


def test_a_comment_or_a_message_without_words_is_refused() -> None:
    for words in ("", " \n", "\u3000\u2028", "x" * 4001):
        for model, field in ((ApprovePlanRequest, "comment"), (ProposePlanRequest, "message")):
            with pytest.raises(Problem) as refused:
                submission.parse(model, encode(body(**{field: words})))
            assert refused.value.code == f"invalid_{field}"


def test_a_nul_in_them_is_refused_as_everywhere() -> None:
    for changed in (
        {"comment": "a\0"},
        {"comments": [{**PASSAGE, "body": "a\0"}]},
        {"comments": [{**PASSAGE, "exact": "p\0an"}]},
    ):
        with pytest.raises(Problem) as refused:
            submission.parse(ApprovePlanRequest, encode(body(**changed)))
        assert refused.value.code == "invalid_request"


def test_a_title_in_which_something_can_be_seen_is_kept() -> None:
    for title in VALID_TITLES:
        assert parsed(encode(body(title=title))).title == title.strip(WHITE_SPACE)


def test_every_character_alone_is_a_title_if_it_can_be_seen() -> None:
    # The database has the same table; characters that this Python's Unicode does not have yet are left out.
    for code in (*range(1, 0xD800), *range(0xE000, 0x110000)):
        letter = chr(code)
        if unicodedata.category(letter) == "Cn" and not 0xE0000 <= code <= 0xE007F:
            continue
        if letter in WHITE_SPACE or not is_seen(letter):
            assert not submission._TITLE.fullmatch(letter), hex(code)
        else:
            assert submission._TITLE.fullmatch(letter), hex(code)


# The rules for titles, in the code and in the OpenAPI document -----------------------------------------


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
    | st.text("\x00\x1c\x1f \u0085\u2028\u3000ab")
    | st.text("\u200b\u202e\u2066\ufe0f\U000e0041 a")
)
def test_the_pattern_for_titles_says_what_the_service_does(title: str) -> None:

    try:
        parsed(encode(body(title=title)))
        accepted = True
    except Problem:
        accepted = False
    assert bool(re.search(submission.TITLE_PATTERN, title)) is accepted


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1))
def test_any_text_becomes_its_utf8_bytes(content: str) -> None:
    submitted = parsed(encode(body(content=content)))

    assert submitted.document == content.encode()
    assert submitted.sha256 == sha256(content)
