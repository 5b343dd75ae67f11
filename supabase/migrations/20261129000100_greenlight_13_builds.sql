-- What became of a build: its result, its log, its stop, and how often it is tried.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

-- All locks at once, as in 08.
do $$
begin
    lock table greenlight.setting, public.build in share update exclusive mode;

    for v_try in 1..20 loop
        begin
            set local lock_timeout = '200ms';
            lock table greenlight.setting, public.build in access exclusive mode;
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

alter table public.build_log alter column content set statistics 0;  -- as in 08

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
