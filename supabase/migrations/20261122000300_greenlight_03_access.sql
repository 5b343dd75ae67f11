-- Who reads what. No API role, the service role included, is granted insert, update, delete or truncate: every change
-- goes through a function.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

alter table public.plan enable row level security;
alter table public.agent enable row level security;
alter table public.agent_event enable row level security;
alter table public.build enable row level security;

-- Older projects grant ALL on new tables and sequences to the API roles by default, new ones grant nothing.
-- Revoke, then grant, so that both end the same.
revoke all on table public.plan, public.agent, public.agent_event, public.build
from public, anon, authenticated, service_role;
revoke all on sequence public.agent_event_id_seq from public, anon, authenticated, service_role;
revoke all on table greenlight.trusted_client, greenlight.closed_plan from public, anon, authenticated, service_role;
grant select on table public.plan, public.agent, public.agent_event, public.build to authenticated, service_role;

create policy select_own on public.plan
for select to authenticated
using (user_id = (select auth.uid()) and deleted_at is null);

create policy select_own on public.agent
for select to authenticated
using (user_id = (select auth.uid()) and deleted_at is null);

-- An agent's audit log and builds are visible while the agent is: agent's own policy applies to the inner select.
create policy select_own on public.agent_event
for select to authenticated
using (
    user_id = (select auth.uid())
    and exists (
        select from public.agent
        where agent.id = agent_event.agent_id
    )
);

create policy select_own on public.build
for select to authenticated
using (
    user_id = (select auth.uid())
    and exists (
        select from public.agent
        where agent.id = build.agent_id
    )
);

-- The functions in public are thin and run as their caller, so the caller needs access to those in this schema.
revoke all on schema greenlight from public, anon, authenticated, service_role;
grant usage on schema greenlight to authenticated, service_role;
