-- What became of a build: its result, its log, its stop, and how often it is tried.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

alter table greenlight.setting add column max_attempts smallint not null default 5;
-- squawk-ignore constraint-missing-not-valid
alter table greenlight.setting add constraint setting_max_attempts_check check (max_attempts between 1 and 20);

comment on column greenlight.setting.max_attempts is
'How often a build is tried, 1 to 20: of builds that are made from now on.';

alter table public.build
add column max_attempts smallint not null default 5,
add column result jsonb,
add constraint build_max_attempts_check check (max_attempts between 1 and 20) not valid,
add constraint build_result_check
check (jsonb_typeof(result) = 'object' and octet_length(result::text) <= 16384) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.build validate constraint build_max_attempts_check;
-- squawk-ignore constraint-missing-not-valid
alter table public.build validate constraint build_result_check;

comment on column public.build.max_attempts is
'How often it is tried: the project''s setting when the build was made.';
comment on column public.build.result is
'What the builder made: a JSON object. The agent''s page shows url (http or https only) and summary of it.';

alter type public.build_claim add attribute max_attempts integer;
alter type public.build_claim add attribute comment text;
alter type public.build_claim add attribute comments jsonb;

create table public.build_log (
    build_id uuid not null,
    attempt integer not null,
    user_id uuid not null,
    content text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint build_log_pkey primary key (build_id, attempt),

    constraint build_log_build_fkey
    foreign key (build_id) references public.build (id) on delete cascade,

    constraint build_log_attempt_check check (attempt >= 1),
    constraint build_log_content_check check (char_length(content) <= 65536)
);

comment on table public.build_log is
'The end of what an attempt at a build wrote, if its builder shares that. Written by functions only.';
comment on column public.build_log.build_id is
'The build.';
comment on column public.build_log.attempt is
'Which attempt at the build wrote this, from 1.';
comment on column public.build_log.content is
'The last 65,536 characters. They are the builder''s: show them as text.';

-- What purge_build_logs() looks for.
create index build_log_updated_idx on public.build_log (updated_at);

-- An owner's rows, for the policy; n_distinct as for the other tables.
create index build_log_owner_idx on public.build_log (user_id);
alter table public.build_log alter column user_id set (n_distinct = -0.5);

alter table public.build_log enable row level security;
revoke all on table public.build_log from public, anon, authenticated, service_role;
grant select on table public.build_log to authenticated, service_role;

-- Visible while its build is: build's own policy applies to the inner select, which finds it by its key.
create policy select_own on public.build_log
for select to authenticated
using (
    user_id = (select auth.uid())
    and (
        select build.id
        from public.build
        where build.id = build_log.build_id
    ) is not null
);

create trigger touch
before update on public.build_log
for each row
execute function greenlight.touch();

-- Builds whose last attempt is running, for claim_builds() to fail when its lease has ended. Nearly empty.
drop index public.build_last_attempt_idx;
create index build_last_attempt_idx on public.build (run_after) where status = 'running' and attempt >= max_attempts;

-- The owner whose build was handed out last, for claim_builds() to go on with the next one: the hash of the id, which
-- has twice as many bits. A sequence, because setval() takes no lock that others wait for.
create sequence greenlight.last_owner minvalue -9223372036854775808;
revoke all on sequence greenlight.last_owner from public, anon, authenticated, service_role;

-- The open builds of each owner, in the order in which claim_builds() goes round.
create index build_turn_idx on public.build (uuid_hash_extended(user_id, 0), run_after)
where status in ('queued', 'running');

-- Written by `make migration` from supabase/functions.sql.

drop function greenlight.fail_build(uuid, integer, text, boolean);
drop function greenlight.finish_build(uuid, integer);
drop function greenlight.renew_build(uuid, integer, integer, text, integer);
drop function public.fail_build(uuid, integer, text, boolean);
drop function public.finish_build(uuid, integer);
drop function public.renew_build(uuid, integer, integer, text, integer);

-- The one rule of builds, enforced only here: an agent that is building and not deleted has exactly one open build, of
-- its current plan; any other agent has none. So every function just updates the agent.
create or replace function greenlight.keep_build()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_building boolean := new.status = 'building' and new.deleted_at is null;
    v_cancelled text;
begin
    if tg_op = 'UPDATE' then
        v_cancelled := case
            when new.deleted_at is not null then 'The agent was deleted.'
            when new.plan_id <> old.plan_id then 'A newer version was approved.'
            when new.status = 'archived' then 'The agent was archived.'
            when new.status not in ('active', 'failed') then 'The agent is ' || new.status || ' now.'
        end;

        update public.build as b
        set
            status = case
                when v_cancelled is not null then 'cancelled'
                when new.status = 'active' then 'succeeded'
                else 'failed'
            end,
            message = coalesce(v_cancelled, b.message),
            finished_at = clock_timestamp()
        where
            b.agent_id = new.id
            and b.status in ('queued', 'running')
            and not (v_building and b.plan_id = new.plan_id);
    end if;

    if v_building then
        if tg_op = 'INSERT' or not exists (
            select from public.build as b
            where
                b.agent_id = new.id
                and b.status in ('queued', 'running')
        ) then
            insert into public.build (user_id, agent_id, plan_id, max_attempts)
            select
                new.user_id,
                new.id,
                new.plan_id,
                s.max_attempts
            from greenlight.setting as s;
        end if;
    end if;

    return null;
end;
$$;
revoke all on function greenlight.keep_build from public, anon, authenticated, service_role;

-- Goes round the owners: the next build is the first one due of the next owner after greenlight.last_owner who has one.
-- Never waits for a lock: it skips what another call has locked and leaves it to a later claim. Postgres would plan the
-- queries again at each call, which costs more than the claims. The plans that it keeps must be right for any number of
-- builds, so each query has an index in its order, and only that may be used.
create or replace function greenlight.claim_builds(worker text, max_builds integer, lease_seconds integer)
returns setof public.build_claim
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = off
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_lease_end timestamptz;
    v_build public.build;
    v_owners bigint[] := array[]::bigint[];
    v_last bigint;
    v_claim public.build_claim;
begin
    if (char_length(worker) between 1 and 200) is not true then
        perform greenlight.refuse('invalid_worker', 'worker is not 1 to 200 characters.');
    end if;

    if (max_builds between 1 and 100) is not true then
        perform greenlight.refuse('invalid_max_builds', 'max_builds is not from 1 to 100.');
    end if;

    v_lease_end := v_now + greenlight.check_lease(lease_seconds);

    -- If the lease of the last attempt has ended, a build is not tried again: it fails, and its agent with it.
    for v_build in
        select *
        from public.build as b
        where
            b.status = 'running'
            and b.attempt >= b.max_attempts
            and b.run_after <= v_now
    loop
        -- All locks in one statement, in their order; the event refers to the plan. Only here, because a join in the
        -- statement above would make every claim slower.
        perform
        from public.build as b
        inner join public.plan as p on b.plan_id = p.id
        inner join public.agent as a on b.agent_id = a.id
        inner join auth.users as u on b.user_id = u.id
        where
            b.id = v_build.id
            and b.status = 'running'
            and b.run_after <= v_now
        for key share of u skip locked
        for no key update of a skip locked
        for key share of p skip locked
        for no key update of b skip locked;

        continue when not found;

        update public.build as b
        set message = coalesce(b.message, format('No builder finished attempt %s of %s.', b.attempt, b.max_attempts))
        where b.id = v_build.id;

        update public.agent as a
        set status = 'failed'
        where a.id = v_build.agent_id;
    end loop;

    -- One at a time, because each is of another owner, and may be locked.
    for v_number in 1..max_builds loop
        -- The owners of 16 that are due; these are looked at again when 15 of them may be gone.
        if cardinality(v_owners) < 16 or v_number % 16 = 0 then
            v_owners := array(
                select uuid_hash_extended(due.user_id, 0)
                from public.build as due
                where
                    due.status in ('queued', 'running')
                    and due.run_after <= v_now
                    and due.attempt < due.max_attempts
                order by due.run_after
                limit 16
            );
            exit when v_owners = '{}';
        end if;

        v_last := pg_sequence_last_value('greenlight.last_owner');

        -- If these are all, go straight to the next of them, however many builds are not due.
        if cardinality(v_owners) < 16 then
            select coalesce(min(owner) filter (where owner > v_last), min(owner)) - 1
            into v_last
            from unnest(v_owners) as owner;
        end if;

        -- From there to the end, or else from the beginning.
        foreach v_last in array array[v_last, (-9223372036854775808)::bigint] loop
            update public.build as b
            set
                status = 'running',
                attempt = b.attempt + 1,
                run_after = v_lease_end,
                worker = claim_builds.worker,
                progress = null,
                started_at = v_now
            from public.plan as p
            where
                b.id = (
                    select due.id
                    from public.build as due
                    where
                        due.status in ('queued', 'running')
                        and uuid_hash_extended(due.user_id, 0) > v_last
                        and due.run_after <= v_now
                        and due.attempt < due.max_attempts
                    order by
                        uuid_hash_extended(due.user_id, 0),
                        due.run_after
                    limit 1
                    for no key update skip locked
                )
                and p.id = b.plan_id
            returning
                b.id,
                b.attempt,
                b.agent_id,
                b.plan_id,
                b.user_id,
                p.session_id,
                p.version,
                p.title,
                p.document_path,
                p.document_sha256,
                b.run_after,
                b.max_attempts,
                p.comment,
                p.comments
            into v_claim;

            exit when found;
        end loop;

        exit when v_claim.build_id is null;

        v_last := setval('greenlight.last_owner', uuid_hash_extended(v_claim.user_id, 0));
        return next v_claim;
    end loop;
end;
$$;
revoke all on function greenlight.claim_builds from public, anon, authenticated, service_role;
grant execute on function greenlight.claim_builds to service_role;

create or replace function public.claim_builds(
    worker text, max_builds integer default 1, lease_seconds integer default 60
)
returns setof public.build_claim
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return query
    select * from greenlight.claim_builds(worker, max_builds, lease_seconds);
end;
$$;
comment on function public.claim_builds is
'Hands out up to max_builds builds that are due, each for lease_seconds: renew it before that. It goes round the '
'owners, and takes the builds of one in order of run_after. Pass build_id and attempt to renew, finish or fail a '
'build. If the lease of the last attempt has ended, the build fails instead. For the service role.';
revoke all on function public.claim_builds from public, anon, authenticated, service_role;
grant execute on function public.claim_builds to service_role;

-- Writes the end of what an attempt wrote, if it changed. The caller has checked that the attempt is the build's.
create or replace function greenlight.write_log(build public.build, log text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_content text := right(log, 65536);
begin
    if v_content is null or exists (
        select from public.build_log as l
        where
            l.build_id = build.id
            and l.attempt = build.attempt
            and l.content = v_content
    ) then
        return;
    end if;

    insert into public.build_log (build_id, attempt, user_id, content)
    values (build.id, build.attempt, build.user_id, v_content)
    on conflict on constraint build_log_pkey do update
    set content = excluded.content;
end;
$$;
revoke all on function greenlight.write_log from public, anon, authenticated, service_role;

create or replace function greenlight.renew_build(
    build_id uuid, attempt integer, progress integer, message text, lease_seconds integer, log text
)
returns public.build
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_lease interval;
    v_build public.build;
begin
    if not (progress between 0 and 100) then
        perform greenlight.refuse('invalid_progress', 'progress is not from 0 to 100.');
    end if;

    v_lease := greenlight.check_lease(lease_seconds);

    update public.build as b
    set
        run_after = greatest(b.run_after, clock_timestamp() + v_lease),
        progress = coalesce(renew_build.progress, b.progress),
        message = coalesce(left(renew_build.message, 500), b.message)
    where
        b.id = build_id
        and b.status = 'running'
        and b.attempt = renew_build.attempt
        and renew_build.attempt >= 1
    returning * into v_build;

    if not found then
        select *
        into v_build
        from public.build as b
        where b.id = build_id;

        perform greenlight.refuse_attempt(v_build, attempt);
    end if;

    perform greenlight.write_log(v_build, log);

    return v_build;
end;
$$;
revoke all on function greenlight.renew_build from public, anon, authenticated, service_role;
grant execute on function greenlight.renew_build to service_role;

create or replace function public.renew_build(
    build_id uuid,
    attempt integer,
    progress integer default null,
    message text default null,
    lease_seconds integer default 60,
    log text default null
)
returns public.build
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.renew_build(build_id, attempt, progress, message, lease_seconds, log);
end;
$$;
comment on function public.renew_build is
'Extends the lease of a running build to lease_seconds from now, never shortens it, and reports progress (0 to 100) '
'and a message; what is left out stays. log replaces the attempt''s row in build_log; its last 65,536 characters are '
'kept. For the service role.';
revoke all on function public.renew_build from public, anon, authenticated, service_role;
grant execute on function public.renew_build to service_role;

create or replace function greenlight.finish_build(build_id uuid, attempt integer, result jsonb, log text)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_build public.build;
    v_agent public.agent;
begin
    if not (jsonb_typeof(result) = 'object' and octet_length(result::text) <= 16384) then
        perform greenlight.refuse('invalid_result', 'result is no JSON object, or is larger than 16,384 bytes.');
    end if;

    v_build := greenlight.lock_build(build_id);

    if (
        attempt >= 1
        and attempt = v_build.attempt
        and v_build.status in ('running', 'succeeded')
    ) is not true then
        perform greenlight.refuse_attempt(v_build, attempt);
    end if;

    if v_build.status = 'running' then
        -- Before the agent, so that it is there when the agent becomes active.
        if result is not null then
            update public.build as b
            set result = finish_build.result
            where b.id = v_build.id;
        end if;

        if log is not null then
            perform greenlight.write_log(v_build, log);
        end if;

        update public.agent as a
        set status = 'active'
        where a.id = v_build.agent_id
        returning * into v_agent;
    else
        select *
        into v_agent
        from public.agent as a
        where a.id = v_build.agent_id;
    end if;

    return v_agent;
end;
$$;
revoke all on function greenlight.finish_build from public, anon, authenticated, service_role;
grant execute on function greenlight.finish_build to service_role;

create or replace function public.finish_build(
    build_id uuid, attempt integer, result jsonb default null, log text default null
)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.finish_build(build_id, attempt, result, log);
end;
$$;
comment on function public.finish_build is
'Finishes a running build: its agent becomes active. result is a JSON object of at most 16,384 bytes that says what '
'was made; the agent''s page shows url and summary of it. log is as in renew_build(). A repeat returns the agent as it '
'is now. For the service role.';
revoke all on function public.finish_build from public, anon, authenticated, service_role;
grant execute on function public.finish_build to service_role;

create or replace function greenlight.fail_build(
    build_id uuid, attempt integer, message text, retry boolean, log text
)
returns public.build
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_build public.build;
begin
    if retry is null then
        perform greenlight.refuse('invalid_retry', 'retry is missing.');
    end if;

    v_build := greenlight.lock_build(build_id);

    if (
        attempt >= 1
        and attempt = v_build.attempt
        and v_build.status in ('running', 'queued', 'failed')
    ) is not true then
        perform greenlight.refuse_attempt(v_build, attempt);
    end if;

    -- The repeat of a fail, or the last attempt, which claim_builds() has failed meanwhile.
    if v_build.status <> 'running' then
        return v_build;
    end if;

    perform greenlight.write_log(v_build, log);

    if retry and attempt < v_build.max_attempts then
        update public.build as b
        set
            status = 'queued',
            run_after = clock_timestamp() + least(make_interval(secs => 10 * 4 ^ (b.attempt - 1)), interval '6 hours'),
            message = coalesce(left(fail_build.message, 500), b.message)
        where b.id = v_build.id;
    else
        update public.build as b
        set message = coalesce(left(fail_build.message, 500), b.message)
        where b.id = v_build.id;

        update public.agent as a
        set status = 'failed'
        where a.id = v_build.agent_id;
    end if;

    select *
    into v_build
    from public.build as b
    where b.id = v_build.id;

    return v_build;
end;
$$;
revoke all on function greenlight.fail_build from public, anon, authenticated, service_role;
grant execute on function greenlight.fail_build to service_role;

create or replace function public.fail_build(
    build_id uuid, attempt integer, message text, retry boolean default true, log text default null
)
returns public.build
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.fail_build(build_id, attempt, message, retry, log);
end;
$$;
comment on function public.fail_build is
'Fails an attempt. With retry the build is queued again, after 10 s, 40 s, 160 s and so on, at most 6 hours; without '
'it, or at the last attempt, the build fails, and its agent with it. A null message keeps the last one; log is as in '
'renew_build(). Repeats are no-ops. For the service role.';
revoke all on function public.fail_build from public, anon, authenticated, service_role;
grant execute on function public.fail_build to service_role;

-- The one case in which a failed agent's build is cancelled. keep_build() finds it closed already.
create or replace function greenlight.stop_build(agent_id uuid)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_owner uuid := greenlight.human_or_service_role();
    v_agent public.agent := greenlight.lock_agent(agent_id, v_owner);
begin
    perform greenlight.refuse_deleted(v_agent);

    if v_agent.status = 'failed' then
        return v_agent;
    end if;

    if v_agent.status <> 'building' then
        perform greenlight.refuse(
            'illegal_transition', format('The agent is %s; only a building agent can be stopped.', v_agent.status)
        );
    end if;

    update public.build as b
    set
        status = 'cancelled',
        message = case when v_owner is null then 'Stopped by the service.' else 'Stopped by the owner.' end,
        finished_at = clock_timestamp()
    where
        b.agent_id = v_agent.id
        and b.status in ('queued', 'running');

    update public.agent as a
    set status = 'failed'
    where a.id = v_agent.id
    returning * into v_agent;

    return v_agent;
end;
$$;
revoke all on function greenlight.stop_build from public, anon, authenticated, service_role;
grant execute on function greenlight.stop_build to authenticated, service_role;

create or replace function public.stop_build(agent_id uuid)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.stop_build(agent_id);
end;
$$;
comment on function public.stop_build is
'Stops the build of an agent that is building: the build is cancelled, its attempt has no effect any more, and the '
'agent is failed. Of a failed agent nothing happens. For the owner (humans only) and the service role.';
revoke all on function public.stop_build from public, anon, authenticated, service_role;
grant execute on function public.stop_build to authenticated, service_role;

-- Locked ones are skipped. A build ends after its logs were written, so what was written later is not looked at.
create or replace function greenlight.purge_build_logs(ended_before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_purged bigint;
begin
    delete from public.build_log as l
    using (
        select
            old.build_id,
            old.attempt
        from public.build_log as old
        inner join public.build as b on old.build_id = b.id
        where
            old.updated_at < purge_build_logs.ended_before
            and b.finished_at < purge_build_logs.ended_before
        order by old.updated_at
        limit least(greatest(batch_size, 1), 1000)
        for update of old skip locked
    ) as ended
    where
        l.build_id = ended.build_id
        and l.attempt = ended.attempt;

    get diagnostics v_purged = row_count;

    return v_purged;
end;
$$;
revoke all on function greenlight.purge_build_logs from public, anon, authenticated, service_role;
grant execute on function greenlight.purge_build_logs to service_role;

create or replace function public.purge_build_logs(ended_before timestamptz, batch_size integer default 100)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.purge_build_logs(ended_before, batch_size);
end;
$$;
comment on function public.purge_build_logs is
'Removes for good the logs of builds that ended before ended_before, at most 1,000 at a time, and returns how many. '
'Call it until it returns 0; locked ones are left for the next call. For the service role.';
revoke all on function public.purge_build_logs from public, anon, authenticated, service_role;
grant execute on function public.purge_build_logs to service_role;

notify pgrst, 'reload schema';
