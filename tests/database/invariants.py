"""What must be true of every row at all times, after any calls in any order by any number of callers at once."""

from .conftest import Project

# A plan that was approved once: approved now, or superseded or archived since.
ONCE_APPROVED = "p.decided_at is not null and p.status in ('approved', 'superseded', 'archived')"

INVARIANTS: dict[str, str] = {
    "an agent is built from the newest approved plan of its own user and session": f"""
        select a.id from public.agent a
        join public.plan p on p.id = a.plan_id
        where (p.user_id, p.session_id) <> (a.user_id, a.session_id)
            or p.version <> (
                select max(p.version) from public.plan p
                where (p.user_id, p.session_id) = (a.user_id, a.session_id) and {ONCE_APPROVED}
            )
    """,
    "a session has exactly one agent once a plan was approved, and none before": f"""
        select p.user_id from public.plan p
        left join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        group by p.user_id, p.session_id
        having count(distinct a.id) <> case when bool_or({ONCE_APPROVED}) then 1 else 0 end
    """,
    "what was approved is approved while its agent is built from it, archived with it, superseded otherwise": f"""
        select p.id from public.plan p
        join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        where {ONCE_APPROVED} and p.status <> case
            when a.plan_id <> p.id then 'superseded' when a.status = 'archived' then 'archived' else 'approved'
        end
    """,
    "a proposal waits only as the newest version of its session, and not for an archived agent": """
        select p.id from public.plan p
        left join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        where p.status = 'proposed' and (
            a.status = 'archived'
            or p.version <> (
                select max(version) from public.plan where (user_id, session_id) = (p.user_id, p.session_id)
            )
        )
    """,
    "a plan tells when it was decided, and what was not decided has no trace of a decision": """
        select p.id from public.plan p
        where (p.status = 'proposed' and p.decided_at is not null)
            or (p.status not in ('proposed', 'superseded') and p.decided_at is null)
            or (
                p.decided_at is null
                and coalesce(p.decided_aal, p.decided_via, p.decided_by::text, p.comment) is not null
            )
            or (p.decided_at is not null and p.decided_via is null)
            or (p.decided_via = 'service_role') <> (p.decided_by is null)
            or (p.status = 'changes_requested' and p.comment is null)
            or p.decided_at < p.created_at
    """,
    "a plan without a team was decided by its owner or withdrawn": """
        select p.id from public.plan p
        where p.team_id is null and p.status <> 'withdrawn' and p.decided_by <> p.user_id
    """,
    "a session and all that belongs to it has one team, or none": """
        select p.id from public.plan p
        left join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        left join public.agent_event e on e.agent_id = a.id
        left join public.build b on b.agent_id = a.id
        left join public.build_log l on l.build_id = b.id
        where exists (
                select from public.plan o
                where (o.user_id, o.session_id) = (p.user_id, p.session_id) and o.team_id is distinct from p.team_id
            )
            or (a.id is not null and a.team_id is distinct from p.team_id)
            or (e.id is not null and e.team_id is distinct from p.team_id)
            or (b.id is not null and b.team_id is distinct from p.team_id)
            or (l.build_id is not null and l.team_id is distinct from p.team_id)
    """,
    "what was not proposed was approved": """
        select p.id from public.plan p
        where p.proposed_by is null
            and (p.decided_at is null or p.status not in ('approved', 'superseded', 'archived'))
    """,
    "every approval is one event, by who decided; no other plan has such an event": f"""
        select p.id from public.plan p
        left join public.agent_event e on e.plan_id = p.id and e.kind in ('approved', 'revised')
        group by p.id
        having count(e.id) <> case when {ONCE_APPROVED} then 1 else 0 end
            or bool_or(e.id is not null and (e.actor, e.actor_role) is distinct from (p.decided_by, 'authenticated'))
    """,
    "an agent and the plans of its session are deleted together": """
        select p.id from public.plan p
        left join public.agent a on (a.user_id, a.session_id) = (p.user_id, p.session_id)
        where a.deleted_at is distinct from p.deleted_at
    """,
    "a building, not deleted agent has exactly one open build, of its current plan; any other has none": """
        select a.id from public.agent a
        left join public.build b on b.agent_id = a.id and b.status in ('queued', 'running')
        group by a.id
        having count(b.id) <> case when a.status = 'building' and a.deleted_at is null then 1 else 0 end
            or bool_or(b.plan_id <> a.plan_id)
    """,
    "a build is of its agent's user and session": """
        select b.id from public.build b
        left join public.agent a on a.id = b.agent_id
        left join public.plan p on p.id = b.plan_id
        where (a.user_id, p.user_id, p.session_id) is distinct from (b.user_id, b.user_id, a.session_id)
    """,
    "a build tells what it is": """
        select b.id from public.build b
        where (b.status in ('queued', 'running')) <> (b.finished_at is null)
            or (
                b.status in ('running', 'succeeded', 'failed')
                and (b.attempt < 1 or b.worker is null or b.started_at is null)
            )
            or b.attempt not between 0 and b.max_attempts
            or (b.status = 'cancelled' and b.message is null)
            or b.finished_at < b.started_at
    """,
    "an active or paused agent has a build of its plan that succeeded, a failed one one that failed or was stopped": """
        select a.id from public.agent a
        where case
            when a.status in ('active', 'paused') then not exists (
                select from public.build b
                where b.agent_id = a.id and b.plan_id = a.plan_id and b.status = 'succeeded'
            )
            when a.status = 'failed' then not exists (
                select from public.build b
                where b.agent_id = a.id and b.plan_id = a.plan_id
                    and (b.status = 'failed' or (b.status = 'cancelled' and starts_with(b.message, 'Stopped by ')))
            )
        end
    """,
    "a plan's document is there, at its path": """
        select p.id from public.plan p
        left join storage.objects o on o.id = p.document_id
        where o.name is distinct from p.document_path or o.bucket_id <> 'plans'
    """,
    "an audit log begins with approved, once": """
        select a.id from public.agent a
        where 'approved' <> (select kind from public.agent_event e where e.agent_id = a.id order by id limit 1)
            or 1 <> (select count(*) from public.agent_event e where e.agent_id = a.id and kind = 'approved')
            or not exists (select from public.agent_event e where e.agent_id = a.id)
    """,
    "each event begins where the one before it ended, and not earlier": """
        select id from (
            select
                *,
                lag(to_status) over log as before,
                lag(created_at) over log as earlier,
                lag(version) over log as older
            from public.agent_event
            window log as (partition by agent_id order by id)
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
    "an audit log ends where its agent is": """
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
    """Return the invariants that some row breaks."""
    return [name for name, query in INVARIANTS.items() if project.rows(query)]
