"""For planners in Python: propose a plan, and learn what the human decided.

    planner = Planner(url, key, token)
    rounds = planner.rounds("my-session")
    async for turn in rounds:
        text = await write(turn.feedback)  # your LLM; the feedback of the first turn is None
        await turn.propose("The move", text, message="What changed.")
    match rounds.decision:
        case Approved(agent_id=agent_id): ...

The database holds the state. A planner that dies goes on in another process with the session's id: the same loop waits
for the proposal that is there, or continues with its feedback.

Only `Approved` has an agent, and no decision can be used as a condition: feedback cannot be taken for approval.

Each method raises `Problem`, whose `code` is one of docs/errors.md, and whose `detail` says what was wrong. What can be
repeated was repeated before.
"""

import inspect
import random
import uuid
from asyncio import sleep
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NoReturn, Self, TypeAlias, TypeVar

import httpx
import jwt
from pydantic_settings import BaseSettings
from pydantic_settings import PydanticBaseSettingsSource as Source

from greenlight import MAX_DOCUMENT_BYTES, approval, logs
from greenlight.auth import User
from greenlight.comments import CommentOnLine, feedback, on_lines
from greenlight.errors import Problem, not_authenticated
from greenlight.keys import role_of
from greenlight.settings import Settings
from greenlight.submission import ProposePlanRequest, Submission, submission_of, validate
from greenlight.upstream import Revision, Upstream, connect

__all__ = [
    "Approved",
    "ChangesRequested",
    "Decision",
    "Ending",
    "Expired",
    "Planner",
    "Problem",
    "Proposal",
    "Rejected",
    "Round",
    "Rounds",
    "Superseded",
    "Token",
    "Withdrawn",
]

ATTEMPTS = 5  # at the next version number, which another planner of the session may take first
FIRST_PAUSE_SECONDS = 0.5  # before a failed call is repeated; each pause is twice the one before
LONGEST_PAUSE_SECONDS = 60.0

Answer = TypeVar("Answer")
Token: TypeAlias = str | Callable[[], str | Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class _Decision:
    session_id: str
    version: int

    def __bool__(self) -> NoReturn:
        raise TypeError("A decision is neither true nor false: tell its class by `match` or `isinstance`.")


@dataclass(frozen=True, kw_only=True)
class _Remarks(_Decision):
    feedback: str | None
    """All that the human wrote, as Markdown for a model: each passage is quoted with its line."""
    comment: str | None
    """Of it, what is said on the whole plan."""
    comments: Sequence[CommentOnLine]
    """Of it, what is said on passages."""


@dataclass(frozen=True, kw_only=True)
class Approved(_Remarks):
    """The human approved. What they wrote is for the builder."""

    agent_id: str
    agent_status: str
    """`building`, `active`, `paused`, `failed` or `archived`, when this was read."""


@dataclass(frozen=True, kw_only=True)
class ChangesRequested(_Remarks):
    """The human sent the plan back: propose a changed one."""

    feedback: str


@dataclass(frozen=True, kw_only=True)
class Rejected(_Remarks):
    """The human refuses the plan: stop, and ask what they want."""


@dataclass(frozen=True, kw_only=True)
class Withdrawn(_Decision):
    """The planner took the proposal back."""


@dataclass(frozen=True, kw_only=True)
class Superseded(_Decision):
    """A newer version took its place, also if this one had been approved."""

    newest_version: int


@dataclass(frozen=True, kw_only=True)
class Expired(_Decision):
    """It was not decided in time, and cannot be approved any more."""

    expires_at: datetime


Ending: TypeAlias = Approved | Rejected | Withdrawn | Superseded | Expired
Decision: TypeAlias = ChangesRequested | Ending


class _Project(Settings):
    """What the calls to Supabase need to know, from the arguments and never from the environment."""

    supabase_publishable_key: str  # any key, here

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: Source,
        env_settings: Source,  # noqa: ARG003
        dotenv_settings: Source,  # noqa: ARG003
        file_secret_settings: Source,  # noqa: ARG003
    ) -> tuple[Source, ...]:
        return (init_settings,)


class Planner:
    """Proposes as one user. It holds no connection: it can be kept, and needs no closing.

    With the publishable `key` and a `token`: as the user, whose token may also approve (do not give it to an LLM), or
    as an OAuth client of the user, whose token has a `client_id` claim and cannot. `token` may be a function, also an
    async one: it is called before each call to Supabase, and once more if Supabase refuses the token, so it has to
    return one that is still valid.

    With the secret `key` and the `user_id` of the user for whom it proposes. It cannot approve.

    `ui_url` is the web app's address, for `Proposal.review_url`. While it waits, it looks at most every
    `poll_seconds`. Calls that fail are repeated for `retry_seconds`, if that can help.

    Raises ValueError if the arguments do not go together, or `url` is no address.
    """

    def __init__(  # noqa: PLR0913 -- each has a name
        self,
        url: str,
        key: str,
        token: Token | None = None,
        *,
        user_id: str | None = None,
        ui_url: str | None = None,
        poll_seconds: float = 5,
        retry_seconds: float = 60,
    ) -> None:
        if (token is None) == (user_id is None):
            raise ValueError("Give a token with the publishable key, or a user_id with the secret key.")
        if role_of(key) == ("service_role" if user_id is None else "anon"):
            raise ValueError("A token goes with the publishable key, a user_id with the secret key.")
        self._settings = _Project(supabase_url=url, supabase_publishable_key=key, ui_url=ui_url)
        self._user_id = None if user_id is None else str(uuid.UUID(user_id))
        self._token: Token = key if token is None else token
        self._retry_seconds = retry_seconds
        self.poll_seconds = poll_seconds

    async def propose(  # noqa: PLR0913 -- as the function's
        self,
        title: str,
        text: str,
        *,
        session_id: str | None = None,
        version: int | None = None,
        message: str | None = None,
        expires_in: timedelta | None = None,
        team_id: str | None = None,
    ) -> "Proposal":
        """Propose a Markdown document of at most 1 MiB, and return without waiting.

        Without `session_id` it begins a new planning session; without `version` it takes the next number. The human
        reads `message` with it: what changed, what you ask. It can be approved for the time `expires_in`, from a minute
        to a year. The approvers of the team `team_id` decide; else it is as in the session so far.

        It is safe to repeat: the text of the session's newest version is that proposal again, whatever was decided,
        unless it was withdrawn or has expired.

        Raises `plan_stale` (there is a higher version), `plan_conflict` (this version has another text), `plan_decided`
        (the human has refused this text), `agent_deleted`, `agent_archived`, `document_too_large`,
        `document_conflict`, `invalid_*` and `not_authenticated`.
        """
        session_id = f"planner-{uuid.uuid4()}" if session_id is None else session_id
        request = validate(
            ProposePlanRequest,
            {
                "session_id": session_id,
                "title": title,
                "content": text,
                "version": 1 if version is None else version,
                "message": message,
                "expires_in_seconds": None if expires_in is None else int(expires_in.total_seconds()),
                "team_id": team_id,
            },
        )
        plan = submission_of(request, MAX_DOCUMENT_BYTES)

        async def once(upstream: Upstream) -> Proposal:
            proposed = plan if version is not None else await _numbered(upstream, plan)
            answer = await approval.propose(
                proposed,
                upstream,
                expires_in_seconds=request.expires_in_seconds,
                message=request.message,
                team_id=request.team_id,
            )
            return Proposal(self, session_id, proposed.version, answer.review_url)

        for _ in range(ATTEMPTS):
            try:
                return await self._retried(once)
            except Problem as problem:
                if version is not None or problem.code not in {"plan_stale", "plan_conflict"}:
                    raise
                lost_race = problem
        raise lost_race

    def proposal(self, session_id: str, version: int) -> "Proposal":
        """Return what was proposed before, perhaps by another process. It does not look whether it is there."""
        return Proposal(self, session_id, version)

    async def newest(self, session_id: str) -> "Proposal | None":
        """Return the session's newest version; None if it has none. Raises `not_authenticated`."""

        async def once(upstream: Upstream) -> Proposal | None:
            plan = await upstream.revision(session_id)
            if plan is None:
                return None
            url = self._settings.review_url(session_id, upstream.user.id if plan.team_id else None)
            return Proposal(self, session_id, plan.version, url)

        return await self._retried(once)

    def rounds(
        self, session_id: str, *, team_id: str | None = None, timeout: float | None = None
    ) -> "Rounds":
        """Return the session's rounds, for `async for`. See `Rounds`."""
        return Rounds(self, session_id, team_id, timeout)

    async def _retried(self, call: Callable[[Upstream], Awaitable[Answer]]) -> Answer:
        until = monotonic() + self._retry_seconds
        pause = FIRST_PAUSE_SECONDS
        async with connect() as http:
            while True:
                try:
                    return await self._once(http, call)
                except Problem as problem:
                    if not problem.retryable or monotonic() + pause > until:
                        raise
                await sleep(_jitter(pause))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _once(self, http: httpx.AsyncClient, call: Callable[[Upstream], Awaitable[Answer]]) -> Answer:
        logs.begin("")  # calls note there what they were answered
        user = await self._user()
        try:
            return await call(Upstream(self._settings, http, user))
        except Problem as problem:
            if problem.code != "not_authenticated" or not callable(self._token):
                raise
            fresh = await self._user()
            if fresh.token == user.token:
                raise
        return await call(Upstream(self._settings, http, fresh))

    async def _user(self) -> User:
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        return User(self._user_id or _owner(token), token)


@dataclass
class Proposal:
    """One version of a session's plan that was proposed. `session_id` and `version` are all that you need to store."""

    _planner: Planner = field(repr=False)
    session_id: str
    version: int
    review_url: str | None = None
    """Where the human reviews it; None without the planner's `ui_url`, and from `Planner.proposal`."""
    _next_look: float = field(default=0, init=False, repr=False, compare=False)

    async def decision(self, timeout: float | None = None) -> Decision:  # noqa: ASYNC109 -- as asyncio's own `wait`
        """Wait until the human has decided, and return what they did.

        It can be called again, also later: a decision is final. It never looks sooner than the planner's `poll_seconds`
        after the look before, in an earlier call, too.

        Raises TimeoutError if there is no decision after `timeout` seconds; `plan_not_found` if the plan is deleted;
        `not_authenticated`. Failures that may pass do not end the wait.
        """
        until = None if timeout is None else monotonic() + timeout
        failures = 0
        async with connect() as http:
            while True:
                pause = self._next_look - monotonic()
                if until is not None and monotonic() + max(0.0, pause) > until:
                    await sleep(until - monotonic())
                    raise TimeoutError("The human has not decided yet.")
                await sleep(pause)
                try:
                    decision = await self._planner._once(http, self._decided)  # noqa: SLF001
                except Problem as problem:
                    if not problem.retryable:
                        raise
                    failures += 1
                else:
                    failures = 0
                    if decision is not None:
                        self._next_look = 0
                        return decision
                seconds = self._planner.poll_seconds
                growing = min(seconds * 2**failures, max(seconds, LONGEST_PAUSE_SECONDS))
                self._next_look = monotonic() + _jitter(growing)

    async def withdraw(self) -> None:
        """Take it back, so that the human need not decide.

        Raises `plan_decided`, `plan_stale` (a newer version has taken its place), `plan_not_found`, `agent_deleted` and
        `not_authenticated`.
        """
        await self._planner._retried(lambda upstream: upstream.withdraw(self.session_id, self.version))  # noqa: SLF001

    async def _decided(self, upstream: Upstream) -> Decision | None:
        plan = await upstream.revision(self.session_id, self.version)
        if plan is None:
            raise Problem("plan_not_found", "There is no such version in this session.")
        which: dict[str, Any] = {"session_id": self.session_id, "version": self.version}
        match plan.status:
            case "proposed":
                return Expired(**which, expires_at=past) if (past := _expired(plan)) else None
            case "withdrawn":
                return Withdrawn(**which)
            case "superseded":
                newest = await upstream.revision(self.session_id)
                return Superseded(**which, newest_version=(newest or plan).version)
        text = await upstream.text(plan.document_path) if plan.comments else None
        comments = on_lines(plan.comments or [], text)
        said: dict[str, Any] = {
            **which,
            "feedback": feedback(plan.comment, comments),
            "comment": plan.comment,
            "comments": comments,
        }
        match plan.status:
            case "changes_requested":
                return ChangesRequested(**said)
            case "rejected":
                return Rejected(**said)
            case "approved" | "archived":
                agent = await upstream.agent(self.session_id)
                if agent is None:
                    raise Problem("plan_not_found", "The agent of this session was deleted.")
                return Approved(**said, agent_id=agent.id, agent_status=agent.status)
        raise Problem("upstream_error", f"This version does not know the status {plan.status}.")


@dataclass(frozen=True)
class Round:
    """One turn of the planner: write a plan, or write it again with what the human said, and propose it."""

    _rounds: "Rounds"
    previous: ChangesRequested | None
    """What was sent back; None in a session without a plan."""

    @property
    def feedback(self) -> str | None:
        """What the human wrote on it."""
        return None if self.previous is None else self.previous.feedback

    async def propose(
        self, title: str, text: str, *, message: str | None = None, expires_in: timedelta | None = None
    ) -> Proposal:
        """Propose the next version, as `Planner.propose`. It raises `plan_decided` if the text is as it was."""
        return await self._rounds._propose(self, title, text, message, expires_in)  # noqa: SLF001


class Rounds:
    """The rounds of a planning session: proposed, sent back, proposed again, until the human decides otherwise.

    It begins where the session is. A session without a plan yields a first round without feedback; a proposal that
    waits is waited for; one that was sent back yields a round with the feedback; any other decision ends it.

    Iterating raises what `Proposal.decision` raises, with `timeout` for each round, and RuntimeError if a round ended
    without a proposal.
    """

    def __init__(self, planner: Planner, session_id: str, team_id: str | None, timeout: float | None) -> None:
        self.session_id = session_id
        self._planner = planner
        self._team_id = team_id
        self._timeout = timeout
        self._proposal: Proposal | None = None
        self._round: Round | None = None
        self._ending: Ending | None = None

    @property
    def decision(self) -> Ending:
        """How it ended. Raises RuntimeError before that."""
        if self._ending is None:
            raise RuntimeError("The rounds are not over.")
        return self._ending

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Round:
        if self._ending is not None:
            raise StopAsyncIteration
        if self._proposal is None and self._round is not None:
            raise RuntimeError("A round has to propose a plan.")
        if self._proposal is None:
            self._proposal = await self._planner.newest(self.session_id)
        previous = None
        if self._proposal is not None:
            decision = await self._proposal.decision(self._timeout)
            if not isinstance(decision, ChangesRequested):
                self._ending = decision
                raise StopAsyncIteration
            previous = decision
        self._proposal = None
        self._round = Round(self, previous)
        return self._round

    async def _propose(
        self, turn: Round, title: str, text: str, message: str | None, expires_in: timedelta | None
    ) -> Proposal:
        # The number is named, so that the database compares the text with what was sent back.
        version = turn.previous.version + 1 if turn.previous is not None else None
        self._proposal = await self._planner.propose(
            title,
            text,
            session_id=self.session_id,
            version=version,
            message=message,
            expires_in=expires_in,
            team_id=self._team_id,
        )
        return self._proposal


async def _numbered(upstream: Upstream, plan: Submission) -> Submission:
    """Return the plan with the version that it has, or gets."""
    newest = await upstream.revision(plan.session_id)
    if newest is None:
        return plan
    again = (
        newest.document_sha256 == plan.sha256
        and newest.status not in {"withdrawn", "superseded"}
        and not _expired(newest)
    )
    return replace(plan, version=newest.version + (0 if again else 1))


def _expired(plan: Revision) -> datetime | None:
    """Return since when the proposal has expired, or None."""
    past = plan.status == "proposed" and plan.expires_at is not None and plan.expires_at <= datetime.now(UTC)
    return plan.expires_at if past else None


def _owner(token: str) -> str:
    """Return whose token it is. Supabase verifies it."""
    try:
        return str(uuid.UUID(jwt.decode(token, options={"verify_signature": False})["sub"]))
    except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
        raise not_authenticated("The access token cannot be read.") from None


def _jitter(seconds: float) -> float:
    """Spread out the calls of planners that started at the same time, and never call sooner."""
    return seconds * random.uniform(1, 1.2)  # noqa: S311 -- nothing to guess here
