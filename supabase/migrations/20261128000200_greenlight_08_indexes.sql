-- What a call costs does not depend on how many rows other users have, nor on how many versions a session has.
--
-- (Not `concurrently`, because the CLI runs each file in a transaction. docs/deploy.md says how long that takes.)

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- All locks at once, before anything else. Calls take them in several orders, and read a table before they write to it,
-- so that a migration that took one after the other would meet them in a deadlock. A try that does not get all of them
-- lets go before Postgres looks for deadlocks (after 1 s), and the calls go on. (The first lock ends an autovacuum,
-- which Postgres does only for one who waits longer than that. It stands in no call's way.)
do $$
begin
    lock table public.plan, public.agent, public.agent_event, public.build in share update exclusive mode;

    for v_try in 1..20 loop
        begin
            set local lock_timeout = '200ms';
            lock table public.plan, public.agent, public.agent_event, public.build in access exclusive mode;
            exit;
        exception
            when lock_not_available then
                if v_try = 20 then
                    raise;
                end if;

                perform pg_sleep(0.1);
        end;
    end loop;
end;
$$;

set local lock_timeout = '5s';

-- A version of this document that a human decided on, newest first. propose_plan() looks for the refusal of a document,
-- which a session may have proposed any number of times.
create index plan_decided_idx on public.plan (document_path, version desc)
where decided_at is not null and status <> 'withdrawn';

-- An owner's newest agents, and below, with id as well: newest plans, and agents by status. This is the lists' order.
create index agent_newest_idx on public.agent (user_id, created_at desc, id desc) where deleted_at is null;

-- An owner's rows, for the policies.
create index agent_event_owner_idx on public.agent_event (user_id, id);
create index build_owner_idx on public.build (user_id, created_at);

-- From here on reads wait, too, because existing indexes are exchanged.
drop index public.plan_newest_idx;
create index plan_newest_idx on public.plan (user_id, created_at desc, id desc) where deleted_at is null;

drop index public.agent_by_status_idx;
create index agent_by_status_idx on public.agent (user_id, status, created_at desc, id desc) where deleted_at is null;

-- The target of agent_plan_fkey began with (user_id, session_id), like plan_session_version_key. To Postgres, which
-- expects a session to have one version, they were equally good for finding a version, and it read the whole session
-- by the wrong one. Now it begins with id.
-- squawk-ignore ban-drop-constraint
alter table public.agent drop constraint agent_plan_fkey;
-- squawk-ignore ban-drop-constraint
alter table public.plan drop constraint plan_session_plan_key;
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
alter table public.plan add constraint plan_session_plan_key unique (id, user_id, session_id);
alter table public.agent add constraint agent_plan_fkey
foreign key (user_id, session_id, plan_id) references public.plan (user_id, session_id, id) on delete no action
not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.agent validate constraint agent_plan_fkey;

-- Every read through the Data API is limited to one user by a policy, but may ask for any order and a limit of 1. From
-- its statistics Postgres concludes that with few users, or with one who owns most rows, it soon finds a row of theirs
-- in an index of that order (`order=id.desc`): for a user without rows it then reads the rows of all others. With this
-- setting in the place of the real number it expects two rows of each user, and always begins at the user.
alter table public.plan alter column user_id set (n_distinct = -0.5);
alter table public.agent alter column user_id set (n_distinct = -0.5);
alter table public.agent_event alter column user_id set (n_distinct = -0.5);
alter table public.build alter column user_id set (n_distinct = -0.5);
analyze public.plan, public.agent, public.agent_event, public.build;

-- The caller's agents, the deleted ones, too: agent's policy, which hides these, does not apply to the view's owner.
create view greenlight.own_agent as
select
    a.id,
    a.user_id,
    a.session_id,
    a.deleted_at
from public.agent as a
where a.user_id = (select auth.uid());

revoke all on table greenlight.own_agent from public, anon, authenticated, service_role;
grant select on table greenlight.own_agent to authenticated;

-- What belongs to an agent is hidden while the agent is deleted. delete_agent() marks only the newest 1,000 plans of
-- the session, so that it takes no longer for any number of them. (Each subquery returns a value and finds one agent by
-- its key: for `exists`, Postgres may read all agents of the user beforehand.)
alter policy select_own on public.plan
using (
    user_id = (select auth.uid())
    and deleted_at is null
    and (
        select own_agent.deleted_at
        from greenlight.own_agent
        where
            own_agent.user_id = plan.user_id
            and own_agent.session_id = plan.session_id
    ) is null
);

alter policy select_own on public.agent_event
using (
    user_id = (select auth.uid())
    and (
        select own_agent.deleted_at
        from greenlight.own_agent
        where own_agent.id = agent_event.agent_id
    ) is null
);

alter policy select_own on public.build
using (
    user_id = (select auth.uid())
    and (
        select own_agent.deleted_at
        from greenlight.own_agent
        where own_agent.id = build.agent_id
    ) is null
);

comment on column public.plan.deleted_at is
'When the session''s agent was deleted. Null while it is not deleted, and of all but the newest 1,000 versions of a '
'session: the agent''s deleted_at counts.';

-- As if sessions deleted before had been deleted so.
update public.plan as p
set deleted_at = null
from (
    select
        d.id,
        row_number() over (partition by d.user_id, d.session_id order by d.version desc) as position
    from public.plan as d
    where d.deleted_at is not null
) as deleted
where
    p.id = deleted.id
    and deleted.position > 1000;

notify pgrst, 'reload schema';
