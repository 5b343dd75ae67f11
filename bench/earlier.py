"""Everything that 0.2 has, beside 0.2.0 itself: the same statements in two databases, in turn."""

from typing import LiteralString

from bench import database
from bench.builds import FINISH
from bench.database import CLAIM, LIST_NEWEST, LIST_WAITING, OPEN_AGENT, Act, Clone, Connection, as_user

REQUEST_CHANGES: LiteralString = "select to_jsonb(public.request_changes(%s, 1, 'Add an order limit.'))"
REJECT: LiteralString = "select to_jsonb(public.reject_plan(%s, 1, 'Not now.'))"
APPROVE_PROPOSAL: LiteralString = (
    "select to_jsonb(public.approve_plan(session_id => %s, version => 1, document_sha256 => %s))"
)
LIST_OWN: LiteralString = (
    "select * from public.plan where user_id = %s order by created_at desc, id desc limit 20"
)
LIST_AGENTS: LiteralString = "select * from public.agent order by created_at desc limit 20"
LIST_BY_STATUS: LiteralString = (
    "select * from public.agent where status = 'active' order by created_at desc limit 20"
)
SERVICE_ROLE = {"role": "service_role"}


def against(clones: list[Clone], rounds: int, count: int) -> dict[str, list[list[float]]]:
    """Return, for each act, each round's median in seconds of each clone."""
    return database.compare(clones, _acts, rounds, count)


def _acts(clone: Clone, connection: Connection, count: int) -> dict[str, Act]:
    users = clone.users(count)
    agents = clone.agents(users)
    documents, proposals, others, wanted = (clone.documents(count) for _ in range(4))
    for document in [*others, *wanted]:
        database.propose(connection, document)
    claimed: list[tuple[object, object]] = []

    def decide(query: LiteralString, status: str, at: int) -> None:
        document = others[at] if status == "rejected" else proposals[at]
        (answer,) = as_user(connection, document.user_id, query, (document.session_id,))
        if answer[0]["status"] != status:
            raise RuntimeError(f"not {status}: {answer}")

    def approve_proposal(at: int) -> None:
        parameters = (wanted[at].session_id, wanted[at].sha256)
        (answer,) = as_user(connection, wanted[at].user_id, APPROVE_PROPOSAL, parameters)
        if answer[0]["created"] is not True:
            raise RuntimeError(f"not approved: {answer}")

    def claim(_: int) -> None:
        claimed.extend(database.request(connection, SERVICE_ROLE, CLAIM, ()))

    def finish(at: int) -> None:
        (row,) = database.request(connection, SERVICE_ROLE, FINISH, claimed[at])
        if row != ("active",):
            raise RuntimeError(f"not finished: {row}")

    return {
        "approve": lambda at: database.approve(connection, documents[at]),
        "propose": lambda at: database.propose(connection, proposals[at]),
        "request changes": lambda at: decide(REQUEST_CHANGES, "changes_requested", at),
        "reject": lambda at: decide(REJECT, "rejected", at),
        "approve a proposal": approve_proposal,
        "claim": claim,
        "finish": finish,
        "list what waits": lambda at: as_user(connection, wanted[at].user_id, LIST_WAITING, ()),
        "list the newest 20 plans": lambda at: as_user(connection, users[at], LIST_NEWEST, ()),
        "the same, naming the user": lambda at: as_user(connection, users[at], LIST_OWN, (users[at],)),
        "list the newest 20 agents": lambda at: as_user(connection, users[at], LIST_AGENTS, ()),
        "list 20 agents of a status": lambda at: as_user(connection, users[at], LIST_BY_STATUS, ()),
        "open one agent": lambda at: as_user(connection, users[at], OPEN_AGENT, (agents[at],)),
    }
