-- What a call costs does not depend on how many rows other users have, nor on how many versions a session has.
--
-- (Not `concurrently`, because the CLI runs each file in a transaction. docs/deploy.md says how long that takes.)

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- All locks at once, before anything else. Calls take them in several orders, and read a table before they write to it,
-- so that a migration that took one after the other would meet them in a deadlock. A try that does not get all of them
-- lets go before Postgres looks for deadlocks (after 1 s), and the calls go on. (The first lock ends an autovacuum,
-- which Postgres does only for one who waits longer than that. It stands in no call's way.) From here on writes wait.
do $$
begin
    lock table public.plan, public.agent, public.agent_event, public.build in share update exclusive mode;

    for v_try in 1..20 loop
        begin
            set local lock_timeout = '200ms';
            lock table public.plan, public.agent, public.agent_event, public.build in share mode;
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

-- For reads by a team, whose policies do not say which user: a session by its id alone, and an agent's audit log in
-- order. (The team's own indexes come with its columns.)
create index plan_session_idx on public.plan (session_id, version);
create index agent_session_idx on public.agent (session_id);
create index agent_event_log_idx on public.agent_event (agent_id, id);

-- No statistics of what people write. Policies do not keep the planner from them, and the Data API answers with its
-- estimates (`Prefer: count=planned`): a stranger could ask whether a title that they guess is a frequent one.
alter table public.plan
alter column title set statistics 0,
alter column comment set statistics 0,
alter column document_url set statistics 0,
alter column document_sha256 set statistics 0;
alter table public.agent alter column name set statistics 0;
alter table public.agent_event alter column document_sha256 set statistics 0;
alter table public.build alter column message set statistics 0;

-- In the place of existing ones, which the next migration exchanges for these.
create index plan_newest_next_idx on public.plan (user_id, created_at desc, id desc) where deleted_at is null;
create index agent_by_status_next_idx on public.agent (user_id, status, created_at desc, id desc)
where deleted_at is null;
create unique index plan_session_plan_next_key on public.plan (id, user_id, session_id);

-- Every read through the Data API is limited to one user by a policy, but may ask for any order and a limit of 1. From
-- its statistics Postgres concludes that with few users, or with one who owns most rows, it soon finds a row of theirs
-- in an index of that order (`order=id.desc`): for a user without rows it then reads the rows of all others. With this
-- setting in the place of the real number it expects two rows of each user, and always begins at the user. (Of one row
-- it would take any index that begins at the user, instead of the one of a session or an agent.)
alter table public.plan alter column user_id set (n_distinct = -0.5);
alter table public.agent alter column user_id set (n_distinct = -0.5);
alter table public.agent_event alter column user_id set (n_distinct = -0.5);
alter table public.build alter column user_id set (n_distinct = -0.5);
analyze public.plan, public.agent, public.agent_event, public.build;

notify pgrst, 'reload schema';
