"""Comments on passages, a note with each decision, and what the planner says with a proposal."""

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from .conftest import Project, Row, User, refused

NOTE = {"start": 2, "end": 6, "exact": "Plan", "body": "Which one?"}
OTHER = {"start": 0, "end": 1, "exact": "#", "body": "Why?"}
DECISIONS = {"approve_plan": "approved", "request_changes": "changes_requested", "reject_plan": "rejected"}
WHITE = " \t\n\x85\xa0\u2003\u2028\u3000"


def decide(project: Project, user: User, decision: str, version: int = 1, **words: Any) -> Row:
    if words.get("comments") is not None:
        words["comments"] = Jsonb(words["comments"])
    if decision == "approve_plan":
        project.approve_proposed(user, version=version, **words)
    else:
        named = {"session_id": "s1", "version": version, **words}
        project.call(user, decision, **named)
    return project.plan(user, version=version)


def note(**changes: object) -> dict[str, object]:
    return {**NOTE, **changes}


def passage(exact: str, start: int = 0, **changes: object) -> dict[str, object]:
    return note(start=start, end=start + len(exact), exact=exact, **changes)


WRONG: dict[str, tuple[Any, str]] = {
    "no array": (NOTE, "comments is not"),
    "a text": ("[]", "comments is not"),
    "a number": (1, "comments is not"),
    "no object": ([NOTE, "x"], "comments[1]"),
    "a list in the list": ([[NOTE]], "comments[0]"),
    "null in the list": ([NOTE, None], "comments[1]"),
    "a key too many": ([note(id=1)], "comments[0]"),
    **{
        f"without {key}": ([{name: NOTE[name] for name in NOTE if name != key}], "comments[0]")
        for key in NOTE
    },
    **{f"null as {key}": ([note(**{key: None})], "comments[0]") for key in NOTE},
    "text as start": ([note(start="2")], "comments[0]"),
    "text as end": ([note(end="6")], "comments[0]"),
    "a number as exact": ([note(exact=1)], "comments[0]"),
    "a list as body": ([note(body=["x"])], "comments[0]"),
    "half a character": ([note(start=1.5, end=5.5)], "comments[0]"),
    "a fraction": ([note(end=6.000001)], "comments[0]"),
    "before the document": ([note(start=-1, end=3)], "comments[0]"),
    "nothing": ([note(start=2, end=2, exact="")], "comments[0]"),
    "backwards": ([note(start=6, end=2)], "comments[0]"),
    "behind the longest document": ([passage("x", 1_048_576)], "comments[0]"),
    "a number without end": ([note(end=10**400)], "comments[0]"),
    "one character more": ([note(end=7)], "comments[0]"),
    "one character less": ([note(end=5)], "comments[0]"),
    "UTF-16 units": ([note(start=0, end=2, exact="\U0001f680")], "comments[0]"),
    "a passage too long": ([passage("x" * 4001)], "comments[0]"),
    "an empty body": ([note(body="")], "comments[0]"),
    "a blank body": ([NOTE, NOTE, note(body=WHITE)], "comments[2]"),
    "a body too long": ([note(body="x" * 4001)], "comments[0]"),
    "the first of two": ([NOTE, note(body=""), note(start=-1)], "comments[1]"),
    "201": ([NOTE] * 201, "at most 200"),
    "too many bytes": ([note(body="x" * 4000)] * 17, "65,536 bytes"),
}
RIGHT: dict[str, Any] = {
    "one": [NOTE],
    "two that overlap, in their order": [note(start=3, end=7), NOTE, NOTE],
    "without a fraction": [{**NOTE, "start": 2.0, "end": 6.0}],
    "from the first character": [OTHER],
    "to the last": [passage("x", 1_048_575)],
    "code points": [passage("\U0001f680" * 4), passage("e\u0301"), passage("\r\n"), passage(" ")],
    "the longest passage": [passage("\u00e9" * 4000)],
    "the longest body": [note(body="\U0001f680" * 4000)],
    "white space around": [note(body=f"{WHITE}x{WHITE}")],
    "200": [NOTE] * 200,
}


def bytes_of(project: Project, comments: object) -> int:
    (row,) = project.rows("select octet_length(%s::jsonb::text) as bytes", Jsonb(comments))
    return int(row["bytes"])


def insert(project: Project, plan: Row, comments: object) -> None:
    """As a superuser, beside all functions: a rejected version 2 with these comments."""
    with project.as_superuser() as connection:
        connection.execute(
            """
            insert into public.plan (
                user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                status, proposed_by, decided_at, comments
            )
            select user_id, session_id, 2, title, document_id, document_path, document_sha256, document_url,
                'rejected', 'user', now(), %s
            from public.plan where id = %s
            """,
            (Jsonb(comments), plan["id"]),
        )
        raise psycopg.Rollback


def test_comments_of_any_wrong_shape_are_refused_by_the_functions_and_the_table(
    project: Project, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    before = project.everything()
    for name, (comments, details) in WRONG.items():
        with subtests.test(name):
            for decision in DECISIONS:
                with refused("invalid_comments", "PT422") as refusal:
                    decide(project, user, decision, comments=comments)
                assert details in str(refusal.value.diag.message_detail)
            with pytest.raises(psycopg.errors.CheckViolation):
                insert(project, plan, comments)
    # Stored, it is null.
    for nothing in (None, list[object]()):
        with pytest.raises(psycopg.errors.CheckViolation):
            insert(project, plan, nothing)
    assert project.everything() == before


def test_comments_of_any_right_shape_are_stored_as_given(project: Project, subtests: pytest.Subtests) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    # So many bytes and not one more.
    most = [note(body="x" * 4000)] * 16
    most.append(note(body="x" * (65_536 - bytes_of(project, [*most, note(body="")]))))
    assert bytes_of(project, most) == 65_536
    for name, comments in {**RIGHT, "as many bytes as there may be": most}.items():
        with subtests.test(name):
            insert(project, plan, comments)
    for version, comments in enumerate([*RIGHT.values(), most], 2):
        project.store_and_propose(user, version=version)
        assert decide(project, user, "reject_plan", version, comments=comments)["comments"] == comments
    most[-1]["body"] = f"{most[-1]['body']}x"
    project.store_and_propose(user, version=100)
    with refused("invalid_comments", "PT422"):
        decide(project, user, "reject_plan", 100, comments=most)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    data=st.data(),
)
def test_any_passage_of_any_document_can_be_commented(
    project: Project, document: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(document) - 1))
    end = data.draw(st.integers(start + 1, len(document)))
    comment = {"start": start, "end": end, "exact": document[start:end], "body": "x"}
    (row,) = project.rows(
        "select greenlight.fault_of_comments(%s) as fault, greenlight.fault_of_comments(%s) as other",
        Jsonb([comment]),
        Jsonb([{**comment, "end": end + 1}]),
    )
    assert row["fault"] is None
    assert row["other"] is not None


def test_a_nul_is_refused_by_postgres_itself(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "proposed")
    for comments in ([note(body="a\0b")], [note(start=0, end=1, exact="\0")]):
        with pytest.raises(psycopg.errors.UntranslatableCharacter) as refusal:
            decide(project, user, "reject_plan", comments=comments)
        assert refusal.value.sqlstate == "22P05"


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_keeps_its_words_for_good(project: Project, decision: str) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    plan = decide(project, user, decision, comment="All good.\r\nBut:", comments=[OTHER, NOTE])
    assert (plan["status"], plan["comment"]) == (DECISIONS[decision], "All good.\r\nBut:")
    assert plan["comments"] == [OTHER, NOTE]
    for column, value in (
        ("comments", Jsonb([NOTE])),
        ("comments", None),
        ("comment", "x"),
        ("message", "x"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), project.as_superuser() as connection:
            connection.execute(f"update public.plan set {column} = %s".encode(), (value,))
    assert project.plan(user) == plan


def test_a_note_comes_with_an_approval_that_was_not_proposed(project: Project) -> None:
    user = project.new_user()
    digest = project.store(user)
    url = f"https://x.example/object/sign/plans/{user.path('s1', digest)}?token=t"
    project.call(
        user, "approve_plan", session_id="s1", version=1, title="A plan", document_sha256=digest, document_url=url,
        comment="Mind the gap.", comments=Jsonb([NOTE]),
    )  # fmt: skip
    plan = project.plan(user)
    assert (plan["comment"], plan["comments"], plan["message"]) == ("Mind the gap.", [NOTE], None)


def test_no_comments_stand_without_a_decision(project: Project) -> None:
    project.plan_in(project.new_user(), "proposed")
    for comments in ([NOTE], []):
        with pytest.raises(psycopg.errors.CheckViolation), project.as_superuser() as connection:
            connection.execute("update public.plan set comments = %s", (Jsonb(comments),))


@pytest.mark.parametrize("decision", DECISIONS)
def test_an_empty_list_and_null_are_no_comments(project: Project, decision: str) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    project.store_and_propose(user, session="s2")
    assert decide(project, user, decision, comment="x", comments=[])["comments"] is None
    named = (
        {"document_sha256": project.plan(user, "s2")["document_sha256"]} if decision == "approve_plan" else {}
    )
    project.call(user, decision, session_id="s2", version=1, comment="x", comments=Jsonb(None), **named)
    assert project.plan(user, "s2")["comments"] is None


def test_changes_are_requested_with_at_least_one_of_the_two(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    for comment, comments, code in (
        (None, None, "invalid_comment"),
        (None, [], "invalid_comment"),
        (None, [1], "invalid_comments"),
        ("", [1], "invalid_comment"),
        ("", [NOTE], "invalid_comment"),
        ("x", [1], "invalid_comments"),
    ):
        with refused(code, "PT422"):
            decide(project, user, "request_changes", comment=comment, comments=comments)
    assert decide(project, user, "request_changes", comments=[NOTE])["comment"] is None


@pytest.mark.parametrize("decision", ["request_changes", "reject_plan"])
@pytest.mark.parametrize(
    ("comment", "comments", "words"),
    [
        ("No.", None, "Comment: No."),
        ("No.", [NOTE], "Comment: No."),
        (None, [NOTE, OTHER, NOTE], "Comments on 3 passages."),
    ],
)
def test_the_same_again_is_a_no_op_and_other_words_are_refused(
    project: Project, decision: str, comment: str | None, comments: Any, words: str
) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    decide(project, user, decision, comment=comment, comments=comments)
    before = project.everything()
    decide(project, user, decision, comment=comment, comments=comments)
    if comments:  # numbers are the same with and without a fraction
        decide(
            project,
            user,
            decision,
            comment=comment,
            comments=[{**c, "start": float(c["start"])} for c in comments],
        )
    if decision == "reject_plan":
        decide(project, user, decision)
    for other in (
        {"comment": "Yes.", "comments": comments},
        {"comment": comment, "comments": [OTHER]},
        {"comment": comment, "comments": [*(comments or []), OTHER]},
        {"comment": "No." if comment is None else None, "comments": comments or [NOTE]},
    ):
        with refused("plan_decided", "PT409") as refusal:
            decide(project, user, decision, **other)
        assert str(refusal.value.diag.message_detail).endswith(f": {DECISIONS[decision]}. {words}")
    with refused("plan_decided", "PT409") as refusal:
        project.propose(user, version=2, document="# s1 1")
    assert str(refusal.value.diag.message_detail).endswith(words)
    assert project.everything() == before


def test_a_replay_of_an_approval_ignores_the_words_but_not_their_shape(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    decide(project, user, "approve_plan", comment="First.")
    before = project.everything()
    decide(project, user, "approve_plan")
    decide(project, user, "approve_plan", comment="Second.", comments=[NOTE])
    with refused("invalid_comment", "PT422"):
        decide(project, user, "approve_plan", comment=" ", comments=[1])
    with refused("invalid_comments", "PT422"):
        decide(project, user, "approve_plan", comment="Second.", comments=[1])
    assert project.everything() == before


# The planner's message ---------------------------------------------------------------------------------------


def test_a_message_is_part_of_the_proposal(project: Project) -> None:
    user = project.new_user()
    assert project.store_and_propose(user, message=f"{WHITE}Shorter now.\r\n")["created"]
    assert project.plan(user)["message"] == f"{WHITE}Shorter now.\r\n"
    # A replay stores none, and says what is wrong with one.
    assert not project.store_and_propose(user, message="Another.")["created"]
    assert not project.store_and_propose(user)["created"]
    before = project.everything()
    for message in ("", WHITE, "x" * 4001):
        for version in (1, 2):
            with refused("invalid_message", "PT422"):
                project.store_and_propose(user, version=version, message=message)
        with pytest.raises(psycopg.errors.CheckViolation):
            project.backdate(user, "s1", 1, message=message)
    assert project.everything() == before
    project.store_and_propose(user, version=2, message="\U0001f680" * 4000)


def test_the_new_codes_have_their_place(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    wrong_url = {"document_url": "https://x.example"}
    other: dict[str, Any] = {"document": "# Another"}  # a plan_conflict
    proposing: list[tuple[str, dict[str, Any]]] = [
        ("invalid_session_id", {"session": "/", "message": ""}),
        ("invalid_document_url", {**wrong_url, "message": ""}),
        ("invalid_message", {**other, "message": "", "expires_at": "-infinity"}),
        ("plan_conflict", {**other, "message": "x"}),
    ]
    approving: list[tuple[str, dict[str, Any]]] = [
        ("invalid_document_url", {**wrong_url, "comment": ""}),
        ("invalid_comment", {**other, "comment": "", "comments": Jsonb(1)}),
        ("invalid_comments", {**other, "comments": Jsonb(1)}),
        ("plan_conflict", {**other, "comments": Jsonb([NOTE])}),
    ]
    for call, calls in ((project.propose, proposing), (project.approve_proposed, approving)):
        for code, arguments in calls:
            with refused(code, "PT409" if code == "plan_conflict" else "PT422"):
                call(user, **arguments)
    with refused("human_required", "PT403"):
        decide(project, user.with_claims(client_id="mcp"), "approve_plan", comment="", comments=[1])


def test_the_owner_and_their_client_read_the_words_and_no_one_else(project: Project) -> None:
    user, stranger = project.new_user(), project.new_user()
    project.store_and_propose(user, message="Please read.")
    decide(project, user, "request_changes", comments=[NOTE])
    query = "select message, comments from public.plan"
    for reader in (user, user.with_claims(client_id="mcp")):
        with project.as_user(reader) as connection:
            assert connection.execute(query).fetchall() == [{"message": "Please read.", "comments": [NOTE]}]
    with project.as_user(stranger) as connection:
        assert connection.execute(query).fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), project.as_anon() as connection:
        connection.execute(query)


def test_the_words_go_with_their_plan(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user, message="Please read.")
    decide(project, user, "reject_plan", comments=[NOTE])
    with project.as_service_role() as connection:
        connection.execute("select public.purge_closed_plans(now() + interval '1 day')")
    assert project.rows("select from public.plan") == []
