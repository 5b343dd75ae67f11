"""What becomes of Supabase's answers, the odd ones above all, and how documents are stored."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from greenlight import approval, logs, upstream
from greenlight.auth import User
from greenlight.comments import Comment
from greenlight.errors import ERRORS, Problem
from greenlight.settings import Settings
from greenlight.submission import Submission
from greenlight.upstream import PlanDocument, Upstream
from tests.plan import sha256

URL = "https://project.supabase.test"
USER = User("0e37df36-f698-11e6-8dd4-cb9ced3df976", "the-users-token")
SIGNED = "/object/sign/plans/{path}?token=t"
APPROVED = {
    "plan_id": "5e6d7c58-0000-4000-8000-000000000001",
    "agent_id": "5e6d7c58-0000-4000-8000-000000000002",
    "agent_status": "building",
    "version": 1,
    "created": True,
}

Answer = httpx.Response | Exception | Callable[[], httpx.Response]


def storage_error(status: str, error: str, message: str = "") -> httpx.Response:
    return httpx.Response(400, json={"statusCode": status, "error": error, "message": message})


def data_error(http: int, code: str | None, message: str, details: str | None = None) -> httpx.Response:
    return httpx.Response(http, json={"code": code, "message": message, "details": details, "hint": None})


class Supabase:
    """Answers each step as the test asks for; by default with success."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = {name: a if isinstance(a, list) else [a] for name, a in answers.items()}
        self.calls: list[str] = []
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        step = (
            "compare" if "/object/authenticated/" in path
            else "plan" if request.method == "GET"
            else "rpc" if path.startswith("/rest/")
            else "remove" if request.method == "DELETE"
            else "sign" if "/object/sign/" in path
            else "upload"
        )  # fmt: skip
        self.calls.append(step)
        self.requests.append(request)
        planned = self.answers.get(step, [])
        answer = planned.pop(0) if len(planned) > 1 else planned[0] if planned else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer() if callable(answer) else answer
        key = path.partition("/plans/")[2]
        return {
            "upload": httpx.Response(200, json={"Id": "1", "Key": f"plans/{key}"}),
            "sign": httpx.Response(200, json={"signedURL": SIGNED.format(path=key)}),
            "rpc": httpx.Response(200, json=APPROVED),
            "remove": httpx.Response(200, json=[]),
            "compare": httpx.Response(200, content=b"words"),
            "plan": httpx.Response(200, json=[PLAN]),
        }[step]


PLAN = {"document_path": "a/b/c.md", "document_sha256": "d", "team_id": None}
SETTINGS = Settings(supabase_url=URL, supabase_publishable_key="sb_publishable_x")


async def approve(
    supabase: Supabase,
    document: bytes = b"words",
    comment: str | None = None,
    comments: list[Comment] | None = None,
    **changed: Any,
) -> approval.ApprovePlanResponse:
    settings = SETTINGS.model_copy(update=changed)
    logs.begin("test")
    wanted = Submission("session", 1, "Title", document, sha256(document))
    async with upstream.connect(httpx.MockTransport(supabase)) as http:
        return await approval.approve(
            wanted, Upstream(settings, http, USER), comment=comment, comments=comments
        )


async def problem_of(supabase: Supabase, **changed: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        await approve(supabase, **changed)
    return problem.value


@pytest.mark.anyio
async def test_every_call_is_the_users_with_the_publishable_key() -> None:
    supabase = Supabase()

    answer = await approve(supabase)

    path = f"{USER.id}/session/{sha256('words')}.md"
    assert {request.headers["authorization"] for request in supabase.requests} == {"Bearer the-users-token"}
    assert {request.headers["apikey"] for request in supabase.requests} == {"sb_publishable_x"}
    assert answer.document_url == f"{URL}/storage/v1/object/sign/plans/{path}?token=t"
    assert json.loads(supabase.requests[-1].content) == {
        "session_id": "session",
        "version": 1,
        "title": "Title",
        "document_sha256": sha256("words"),
        "document_url": answer.document_url,
    }


@pytest.mark.anyio
async def test_the_shared_client_never_learns_a_users_token() -> None:
    settings, supabase = SETTINGS, Supabase()
    async with upstream.connect(httpx.MockTransport(supabase)) as http:
        await Upstream(settings, http, USER).store("a/b/c.md", b"words")
        await Upstream(settings, http, User("other", "another-token")).store("a/b/c.md", b"words")
        assert "authorization" not in http.headers
    assert [r.headers["authorization"] for r in supabase.requests] == [
        *["Bearer the-users-token"] * 2,
        *["Bearer another-token"] * 2,
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        storage_error("409", "Duplicate", "The resource already exists"),
        httpx.Response(409, json={"statusCode": "409", "error": "Duplicate", "message": "x"}),
    ],
)
async def test_a_document_that_is_there_counts_as_stored(answer: httpx.Response) -> None:
    assert (await approve(Supabase(upload=answer))).created is True


UNAVAILABLE, TIMEOUT, ERROR = "upstream_unavailable", "upstream_timeout", "upstream_error"
UNAUTHENTICATED = "not_authenticated"
NONSENSE: list[Answer] = [
    httpx.Response(200, text=""),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json=None),
    httpx.Response(200, json=[]),
    httpx.Response(200, json="text"),
    httpx.Response(200, json={}),
    httpx.Response(200, content=b"\xff"),
]
ANY_STEP: list[tuple[Answer, str, bool | None]] = [
    (httpx.ConnectError("refused"), UNAVAILABLE, None),
    (httpx.ReadError("reset"), UNAVAILABLE, None),
    (httpx.WriteError("reset"), UNAVAILABLE, None),
    (httpx.RemoteProtocolError("half a body"), UNAVAILABLE, None),
    (httpx.ConnectTimeout("slow"), TIMEOUT, None),
    (httpx.DecodingError("bad gzip"), ERROR, True),
    (httpx.Response(429, json={"message": "API rate limit exceeded"}), UNAVAILABLE, None),
    (httpx.Response(429, text="slow down"), UNAVAILABLE, None),
    (httpx.Response(503, text="<html>"), UNAVAILABLE, None),
    (httpx.Response(504, text="<html>"), TIMEOUT, None),
    (httpx.Response(418, text=""), ERROR, False),
    (httpx.Response(302, headers={"location": "https://evil.test"}), ERROR, False),
]
# Without its database storage-api answers 500, and 544. PostgREST tells a lost database apart: a 500 can be any fault.
FAULTS: list[Answer] = [
    httpx.Response(500, text="<html>"),
    httpx.Response(500, json=[1]),
    httpx.Response(500, json="text"),
    httpx.Response(500, json=None),
    httpx.Response(502, text=""),
    httpx.Response(500, json={"statusCode": "500", "error": "Internal", "message": "Internal Server Error"}),
    httpx.Response(544, json={"statusCode": "544", "error": "DatabaseTimeout", "message": "timed out"}),
    storage_error("500", "DatabaseError", "database error, code: 57P01"),
    storage_error("544", "DatabaseTimeout"),
]
CASES: list[tuple[str, Answer, str, bool | None]] = [
    *[(step, answer, UNAVAILABLE, None) for step in ("upload", "sign", "compare") for answer in FAULTS],
    *[("rpc", answer, ERROR, True) for answer in FAULTS[:5]],
    *[(step, *case) for step in ("upload", "sign", "rpc") for case in ANY_STEP],
    *[(step, answer, ERROR, True) for step in ("upload", "sign", "rpc") for answer in NONSENSE],
    ("upload", storage_error("429", "Too many"), UNAVAILABLE, None),
    ("upload", storage_error("503", "Down"), UNAVAILABLE, None),
    ("upload", storage_error("weird", "x"), ERROR, False),
    ("upload", httpx.Response(400, json={"statusCode": None, "error": None, "message": None}), ERROR, False),
    ("upload", storage_error("404", "Bucket not found"), ERROR, False),
    ("upload", storage_error("415", "invalid_mime_type"), ERROR, False),
    ("upload", storage_error("413", "Payload too large"), "document_too_large", None),
    ("upload", storage_error("403", "Unauthorized", "jwt expired"), UNAUTHENTICATED, None),
    ("upload", storage_error("400", "InvalidJWT", "invalid"), UNAUTHENTICATED, None),
    ("upload", httpx.Response(401, text=""), UNAUTHENTICATED, None),
    (
        "upload",
        storage_error("403", "Unauthorized", "new row violates row-level security policy"),
        ERROR,
        False,
    ),
    ("sign", storage_error("403", "Unauthorized", "jwt expired"), UNAUTHENTICATED, None),
    ("sign", httpx.Response(200, json={"signedURL": "//evil.test/object?token=x"}), ERROR, True),
    ("sign", httpx.Response(200, json={"signedURL": SIGNED.format(path="another/document.md")}), ERROR, True),
    ("sign", httpx.Response(200, json={"signedURL": None}), ERROR, True),
    *[("compare", *case) for case in ANY_STEP],
    ("compare", storage_error("403", "Unauthorized", "jwt expired"), UNAUTHENTICATED, None),
    ("rpc", data_error(401, "PGRST301", "JWT cryptographic operation failed"), UNAUTHENTICATED, None),
    ("rpc", data_error(401, "PGRST303", "JWT expired"), UNAUTHENTICATED, None),
    ("rpc", httpx.Response(401, json={"message": "Invalid API key"}), ERROR, False),
    ("rpc", data_error(503, "PGRST002", "no schema cache"), UNAVAILABLE, None),
    ("rpc", data_error(504, "PGRST003", "no connection in time"), TIMEOUT, None),
    ("rpc", data_error(404, "PGRST202", "no such function"), ERROR, False),
    ("rpc", data_error(403, "42501", "permission denied"), ERROR, False),
    ("rpc", httpx.Response(200, json={**APPROVED, "version": "1"}), ERROR, True),
    ("rpc", httpx.Response(200, json={**APPROVED, "agent_id": None}), ERROR, True),
    ("rpc", httpx.Response(200, json=[APPROVED]), ERROR, True),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("step", "answer", "code", "retryable"), CASES)
async def test_every_failure_is_a_documented_error_and_keeps_the_document(
    step: str, answer: Answer, code: str, retryable: bool | None
) -> None:
    supabase = Supabase(**{step: answer})
    if step == "compare":
        supabase.answers["upload"] = [storage_error("409", "Duplicate")]

    problem = await problem_of(supabase)

    assert (problem.code, problem.retryable) == (
        code,
        ERRORS[code].retryable if retryable is None else retryable,
    )
    assert "remove" not in supabase.calls


# What PostgREST answers while the database goes away, restarts, refuses connections or is full. The first two bodies
# are as recorded with PostgREST 14.17 and Postgres 17.10 (`pg_ctl -m immediate`, `-m fast`); the others have the status
# and the code of the page "Errors" of PostgREST's documentation (12 and 14) and the words of Postgres.
DATABASE_GOES_AWAY: list[tuple[int, str, str, str]] = [
    (400, "", "", UNAVAILABLE),
    (503, "57P01", "terminating connection due to administrator command", UNAVAILABLE),
    (500, "57P01", "terminating connection due to administrator command", UNAVAILABLE),
    (500, "57P02", "terminating connection because of crash of another server process", UNAVAILABLE),
    (500, "57P03", "the database system is starting up", UNAVAILABLE),
    (503, "PGRST000", "Database connection error. Retrying the connection.", UNAVAILABLE),
    (503, "PGRST000", "Database connection error.", UNAVAILABLE),  # 14.13 and later
    (503, "PGRST001", "Database client error. Retrying the connection.", UNAVAILABLE),
    (503, "PGRST002", "Could not query the database for the schema cache. Retrying.", UNAVAILABLE),
    (504, "PGRST003", "Timed out acquiring connection from connection pool.", TIMEOUT),
    (503, "53300", "sorry, too many clients already", UNAVAILABLE),
    (503, "08000", "connection exception", UNAVAILABLE),
    (503, "08003", "connection does not exist", UNAVAILABLE),
    (503, "08006", "connection failure", UNAVAILABLE),
    (500, "57014", "canceling statement due to statement timeout", TIMEOUT),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "sqlstate", "message", "code"), DATABASE_GOES_AWAY)
async def test_a_lost_database_is_unavailable_and_the_call_can_be_repeated(
    status: int, sqlstate: str, message: str, code: str
) -> None:
    answer = data_error(status, sqlstate, message)

    for supabase, call in ((Supabase(rpc=answer), approve), (Supabase(plan=answer), plan)):
        with pytest.raises(Problem) as problem:
            await call(supabase)
        assert problem.value.code == code
        assert problem.value.retryable is True
        assert "remove" not in supabase.calls


async def plan(supabase: Supabase) -> PlanDocument | None:
    logs.begin("test")
    async with upstream.connect(httpx.MockTransport(supabase)) as http:
        return await Upstream(SETTINGS, http, USER).plan("5e6d7c58-0000-4000-8000-000000000001")


@pytest.mark.anyio
async def test_a_plan_is_found_or_not() -> None:
    assert await plan(Supabase()) == PlanDocument(document_path="a/b/c.md", document_sha256="d", team_id=None)
    assert await plan(Supabase(plan=httpx.Response(200, json=[]))) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        *ANY_STEP,
        *[
            (answer, ERROR, True)
            for answer in (
                *FAULTS[:5],
                NONSENSE[1],
                httpx.Response(200, json={}),
                httpx.Response(200, json=[{}]),
            )
        ],
        (data_error(401, "PGRST303", "JWT expired"), UNAUTHENTICATED, None),
    ],
)
async def test_a_failed_look_up_is_not_repeated_and_ends_in_a_documented_error(
    answer: Answer, code: str, retryable: bool | None
) -> None:
    supabase = Supabase(plan=answer)

    with pytest.raises(Problem) as problem:
        await plan(supabase)

    expected = ERRORS[code].retryable if retryable is None else retryable
    assert (problem.value.code, problem.value.retryable) == (code, expected)
    assert len(supabase.calls) == 1


# What the RPCs refuse because of what their caller asked for.
REFUSALS = [
    "human_required",
    "invalid_session_id",
    "invalid_version",
    "invalid_title",
    "invalid_document_sha256",
    "invalid_expires_at",
    "agent_deleted",
    "plan_conflict",
    "plan_decided",
    "agent_archived",
    "plan_stale",
    "plan_expired",
]


@pytest.mark.anyio
@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refusal_goes_through_with_its_sentence_and_the_document_goes(code: str) -> None:
    status = 403 if code == "human_required" else 422 if code.startswith("invalid_") else 409
    supabase = Supabase(rpc=data_error(status, f"PT{status}", code, "Because of that."))

    problem = await problem_of(supabase)

    assert (problem.code, problem.detail) == (code, "Because of that.")
    assert supabase.calls[-1] == "remove"
    assert json.loads(supabase.requests[-1].content) == {
        "prefixes": [f"{USER.id}/session/{sha256('words')}.md"]
    }


@pytest.mark.anyio
async def test_a_deleted_user_is_not_authenticated_and_nothing_is_stored() -> None:
    supabase = Supabase(rpc=data_error(401, "PT401", "not_authenticated", "The user does not exist."))

    problem = await problem_of(supabase)

    assert (problem.code, problem.detail) == ("not_authenticated", "The user does not exist.")
    assert "WWW-Authenticate" in problem.headers
    assert supabase.calls[-1] == "remove"


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["invalid_document_url", "something_new"])
async def test_a_refusal_of_what_is_not_the_callers_is_no_fault_of_the_caller(code: str) -> None:
    supabase = Supabase(rpc=data_error(422, "PT422", code))

    problem = await problem_of(supabase)

    assert (problem.code, problem.retryable) == ("upstream_error", False)
    assert supabase.calls[-1] == "remove"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "removal",
    [storage_error("409", "ResourceReferenced"), httpx.ReadError("reset"), httpx.Response(500), *NONSENSE],
)
async def test_a_removal_that_fails_does_not_change_the_answer(removal: Answer) -> None:
    supabase = Supabase(rpc=data_error(409, "PT409", "plan_stale", "Newest is 3."), remove=removal)

    assert (await problem_of(supabase)).code == "plan_stale"


MISSING: dict[str, Answer] = {
    "sign": storage_error("404", "not_found", "Object not found"),
    "rpc": data_error(404, "PT404", "document_not_found"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("step", MISSING)
async def test_a_document_that_was_removed_is_uploaded_again(step: str) -> None:
    def well() -> httpx.Response:
        key = f"{USER.id}/session/{sha256('words')}.md"
        return httpx.Response(200, json=APPROVED if step == "rpc" else {"signedURL": SIGNED.format(path=key)})

    supabase = Supabase(**{step: [MISSING[step], MISSING[step], well]})

    assert (await approve(supabase)).agent_id == APPROVED["agent_id"]
    assert supabase.calls.count("upload") == 3


@pytest.mark.anyio
@pytest.mark.parametrize("step", MISSING)
async def test_a_document_that_goes_each_time_is_given_up(step: str) -> None:
    supabase = Supabase(**{step: MISSING[step]})

    problem = await problem_of(supabase)

    assert (problem.code, problem.retryable) == ("upstream_error", True)
    assert supabase.calls.count("upload") == approval.ATTEMPTS


@pytest.mark.anyio
@pytest.mark.parametrize("step", ["upload", "sign", "rpc"])
@pytest.mark.parametrize("limit", ["upstream_timeout_seconds", "approval_timeout_seconds"])
async def test_a_call_that_hangs_is_a_timeout_and_leaves_the_document(step: str, limit: str) -> None:
    class Hanging(Supabase):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = await super().__call__(request)
            if self.calls[-1] == step:
                await asyncio.Event().wait()
            return answer

    supabase = Hanging()

    assert (await problem_of(supabase, **{limit: 0.05})).code == "upstream_timeout"
    assert "remove" not in supabase.calls


# Documents above 100 kB ----------------------------------------------------------------------------------

LARGE = b"x" * (upstream.SMALL_DOCUMENT_BYTES + 1)
NOT_THERE = storage_error("404", "not_found", "Object not found")


class Storage(Supabase):
    """Knows which documents it has, and answers 409 to an upload of one of these."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        super().__init__(**answers)
        self.documents: dict[str, bytes] = {}
        self.kept = False  # a plan refers to what is there, or the token may not delete
        self.sent = 0  # bytes of documents that were read

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = await super().__call__(request)
        step, path = self.calls[-1], request.url.path.partition("/plans/")[2]
        await asyncio.sleep(0)  # other requests come in between
        if answer.status_code != 200 or step == "rpc":
            return answer
        if step == "remove":
            gone = (
                []
                if self.kept
                else [self.documents.pop(p, None) for p in json.loads(request.content)["prefixes"]]
            )
            return httpx.Response(200, json=[{"name": path} for document in gone if document is not None])
        if step == "upload":
            if path in self.documents:
                return storage_error("409", "Duplicate", "The resource already exists")
            self.documents[path] = document_in(request)
        elif path not in self.documents:
            return NOT_THERE
        elif step == "compare":
            return httpx.Response(200, content=self._pieces(self.documents[path]))
        return answer

    async def _pieces(self, document: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(document), 65536):
            self.sent += len(document[start : start + 65536])
            yield document[start : start + 65536]


def document_in(upload: httpx.Request) -> bytes:
    """Return the file of a multipart body."""
    boundary = upload.headers["content-type"].partition("boundary=")[2].encode()
    (part,) = (part for part in upload.content.split(b"--" + boundary) if b"filename=" in part)
    return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


@pytest.mark.anyio
async def test_a_large_document_is_uploaded_only_if_storage_has_none() -> None:
    supabase = Storage()

    for _ in range(2):
        await approve(supabase, LARGE)

    assert supabase.documents == {path_of(LARGE): LARGE}
    assert supabase.calls.count("upload") == 1


# Other bytes are there already ----------------------------------------------------------------------------

SIZES = pytest.mark.parametrize("document", [b"words", LARGE], ids=["small", "large"])
OTHER_BYTES = pytest.mark.parametrize(
    "other",
    [
        b"garbage",
        b"",
        b"words and more",
        b"word",
        LARGE[:-1] + b"y",
        LARGE + b"x",
        LARGE[:-1],
        b"x" * 60_000_000,
    ],
    ids=["other", "empty", "longer", "shorter", "last byte", "one more", "one less", "60 MB"],
)


def path_of(document: bytes) -> str:
    return f"{USER.id}/session/{sha256(document)}.md"


@pytest.mark.anyio
@SIZES
@OTHER_BYTES
async def test_other_bytes_that_no_plan_refers_to_are_replaced(document: bytes, other: bytes) -> None:
    supabase = Storage()
    supabase.documents[path_of(document)] = other

    assert (await approve(supabase, document)).created is True

    assert supabase.documents == {path_of(document): document}
    assert supabase.sent <= len(document) + 65536, "it stops where they differ"


@pytest.mark.anyio
@SIZES
@OTHER_BYTES
async def test_other_bytes_that_cannot_be_replaced_are_a_conflict(document: bytes, other: bytes) -> None:
    supabase = Storage()
    supabase.documents[path_of(document)] = other
    supabase.kept = True

    with pytest.raises(Problem) as problem:
        await approve(supabase, document)

    assert (problem.value.code, problem.value.retryable) == ("document_conflict", False)
    assert supabase.documents == {path_of(document): other}
    assert "rpc" not in supabase.calls
    if document == LARGE:
        assert "upload" not in supabase.calls, "it would leave a connection that hangs"


@pytest.mark.anyio
async def test_a_removal_that_is_refused_is_a_conflict_too() -> None:
    supabase = Storage(remove=storage_error("409", "ResourceReferenced"))
    supabase.documents[path_of(b"words")] = b"garbage"

    assert (await problem_of(supabase)).code == "document_conflict"


@pytest.mark.anyio
@SIZES
async def test_fifty_at_once_replace_other_bytes_once(document: bytes) -> None:
    supabase = Storage()
    supabase.documents[path_of(document)] = b"garbage"

    await asyncio.gather(*(approve(supabase, document) for _ in range(50)))

    assert supabase.documents == {path_of(document): document}
    assert supabase.calls.count("remove") == 1
    assert not upstream._turns


@pytest.mark.anyio
async def test_a_document_that_goes_while_it_is_compared_is_uploaded_again() -> None:
    supabase = Storage(compare=[NOT_THERE, httpx.Response(200)])
    supabase.documents[path_of(b"words")] = b"words"

    def gone() -> httpx.Response:
        supabase.documents.clear()
        supabase.answers["compare"] = []
        return NOT_THERE

    supabase.answers["compare"] = [gone]

    assert (await approve(supabase)).created is True
    assert supabase.documents == {path_of(b"words"): b"words"}


@pytest.mark.anyio
async def test_a_small_document_is_uploaded_without_a_question_before() -> None:
    supabase = Storage()

    await approve(supabase, LARGE[:-1])

    assert supabase.calls.count("sign") == 1


@pytest.mark.anyio
async def test_fifty_at_once_send_a_large_document_once() -> None:
    supabase = Storage()

    await asyncio.gather(*(approve(supabase, LARGE) for _ in range(50)))

    assert supabase.calls.count("upload") == 1
    assert supabase.calls.count("sign") == 51
    assert not upstream._turns


@pytest.mark.anyio
async def test_when_an_upload_fails_the_next_of_those_who_wait_tries() -> None:
    supabase = Storage(upload=[httpx.ReadError("reset"), httpx.Response(200, json={"Id": "1", "Key": "k"})])

    answers = await asyncio.gather(*(approve(supabase, LARGE) for _ in range(5)), return_exceptions=True)

    assert [answer.code for answer in answers if isinstance(answer, Problem)] == [UNAVAILABLE]
    assert supabase.calls.count("upload") == 2
    assert not upstream._turns


@pytest.mark.anyio
async def test_a_large_document_that_was_removed_in_between_is_uploaded_again() -> None:
    supabase = Storage()

    def missing_once() -> httpx.Response:
        supabase.documents.clear()
        supabase.answers["rpc"] = []
        return data_error(404, "PT404", "document_not_found")

    supabase.answers["rpc"] = [missing_once]

    assert (await approve(supabase, LARGE)).created is True
    assert supabase.calls.count("upload") == 2


@pytest.mark.anyio
@pytest.mark.parametrize("error", [KeyError, TypeError, AttributeError, ValueError])
async def test_a_fault_of_our_own_is_not_taken_for_an_answer_of_supabase(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def faulty(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(upstream, "_arguments", faulty)

    with pytest.raises(error):
        await approve(Supabase())
