"""What must hold of every row at every moment, whatever was called, in whatever order, by however many at once."""

from typing import LiteralString

from .conftest import Project

INVARIANTS: dict[str, LiteralString] = {
    "an agent is built from the newest plan of its own user and session": """
        select a.id from public.agent a
        join public.plan p on p.id = a.plan_id
        where (p.user_id, p.session_id) <> (a.user_id, a.session_id)
            or p.version <> (
                select max(version) from public.plan where (user_id, session_id) = (a.user_id, a.session_id)
            )
    """,
    "a session with a plan has exactly one agent": """
        select p.id from public.plan p
        where 1 <> (select count(*) from public.agent where (user_id, session_id) = (p.user_id, p.session_id))
    """,
    "a plan is approved while its agent is built from it, archived with it, superseded otherwise": """
        select p.id from public.plan p
        join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        where p.status <> case
            when a.plan_id <> p.id then 'superseded' when a.status = 'archived' then 'archived' else 'approved'
        end
    """,
    "an agent and the plans of its session are deleted together": """
        select p.id from public.plan p
        join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        where a.deleted_at is distinct from p.deleted_at
    """,
    "a plan's document is there, at its path": """
        select p.id from public.plan p
        left join storage.objects o on o.id = p.document_id
        where o.name is distinct from p.document_path or o.bucket_id <> 'plans'
    """,
    "a ledger begins with approved, once": """
        select a.id from public.agent a
        where 'approved' <> (select kind from public.agent_event e where e.agent_id = a.id order by id limit 1)
            or 1 <> (select count(*) from public.agent_event e where e.agent_id = a.id and kind = 'approved')
            or not exists (select from public.agent_event e where e.agent_id = a.id)
    """,
    "each event begins where the one before it ended, and not earlier": """
        select id from (
            select
                *,
                lag(to_status) over ledger as before,
                lag(created_at) over ledger as earlier,
                lag(version) over ledger as older
            from public.agent_event
            window ledger as (partition by agent_id order by id)
        ) as e
        where from_status is distinct from before
            or created_at < earlier
            or version < older
            or (kind = 'revised') <> coalesce(version > older, false)
    """,
    "an event names the plan that its agent was built from then": """
        select e.id from public.agent_event e
        left join public.plan p on p.id = e.plan_id
        where (p.version, p.document_sha256, p.user_id) is distinct from (e.version, e.document_sha256, e.user_id)
    """,
    "deleted and restored take turns": """
        select id from (
            select *, lag(kind) over (partition by agent_id order by id) as before
            from public.agent_event
            where kind in ('deleted', 'restored')
        ) as e
        where kind = coalesce(before, 'restored')
    """,
    "a ledger ends where its agent is": """
        select a.id from public.agent a
        join lateral (select * from public.agent_event e where e.agent_id = a.id order by id desc limit 1) e on true
        where e.to_status <> a.status or e.plan_id <> a.plan_id or e.created_at <> a.updated_at
            or (e.kind = 'deleted') <> (a.deleted_at is not null)
    """,
    "an active or paused agent was built from the plan that it has": """
        select a.id from public.agent a
        where a.status in ('active', 'paused')
            and not exists (
                select from public.agent_event e
                where e.agent_id = a.id and e.plan_id = a.plan_id
                    and e.from_status = 'building' and e.to_status = 'active' and e.actor_role = 'service_role'
            )
    """,
}


def broken_invariants(project: Project) -> list[str]:
    """Which invariants some row breaks; none, hopefully."""
    return [name for name, query in INVARIANTS.items() if project.rows(query)]
