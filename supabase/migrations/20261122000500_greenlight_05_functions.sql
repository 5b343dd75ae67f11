-- Every function, as supabase/functions.sql has it.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- Every function as it stands today: the place to read and edit. Migrations carry it; a test proves that
-- applying this file to a freshly migrated database changes nothing: bodies, attributes, grants.
--
-- The way of one call: a thin function in public, which runs as its caller and is what the Data API shows,
-- calls the one of the same name in greenlight, which runs as its owner and does the work. Identity comes from
-- auth.uid(), never from a parameter. What one call passes through is plpgsql even where it is one statement: a
-- function in SQL that fixes its search_path is not inlined, and is planned anew at each call.
--
-- Whoever changes anything locks in one order: the user's row, the session (approve_plan only), the agent's
-- row, then plans. So no two of these wait for each other, nor for the deletion of a user, which begins at the
-- user's row as well.

-- Part 1: what the others stand on ---------------------------------------------------------------------------

-- Ends the call with one of our errors. The one table of codes: docs/errors.md and service/greenlight/errors.py are held
-- against it by tests. PostgREST makes PTxxx the HTTP status and the message part of the status line, so the
-- message is the code and nothing else.
create or replace function greenlight.refuse(code text, details text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    status text;
    advice text;
begin
    select error.status, error.advice
    into strict status, advice
    from (
        values
        ('not_authenticated', 'PT401', 'Sign in and retry with a fresh access token.'),
        ('agent_not_found', 'PT404', 'Check the id; agents of other users and purged agents do not exist for you.'),
        ('document_not_found', 'PT404', 'Upload the document to its path in the bucket plans, then approve again.'),
        ('plan_conflict', 'PT409', 'Approve the changed document as a higher version.'),
        ('plan_stale', 'PT409', 'Read the newest version, then approve a higher one.'),
        ('agent_archived', 'PT409', 'Archived is final. Start a new planning session.'),
        ('agent_deleted', 'PT409', 'Restore the agent with restore_agent() first.'),
        ('illegal_transition', 'PT409', 'Read the agent again; the documentation lists the allowed transitions.'),
        ('invalid_session_id', 'PT422', 'Use 1 to 128 of the characters A-Z, a-z, 0-9, _ and -.'),
        ('invalid_version', 'PT422', 'Use a whole number from 1.'),
        ('invalid_title', 'PT422', 'Use 1 to 500 characters on one line, without control characters.'),
        ('invalid_document_sha256', 'PT422', 'Use the SHA-256 of the document''s bytes as 64 lower-case hex digits.'),
        (
            'invalid_document_url',
            'PT422',
            'Use the signed URL that storage gave for the document''s own path, at most 2,048 characters.'
        ),
        ('invalid_status', 'PT422', 'Use building, active, paused or archived.'),
        ('invalid_plan_id', 'PT422', 'Name the plan that was built.')
    ) as error (code, status, advice)
    where error.code = refuse.code;

    raise exception using errcode = status, message = refuse.code, detail = refuse.details, hint = advice;
end;
$$;

-- Who is calling, or not_authenticated. Locks the user's row: the account cannot vanish before the end of the
-- transaction, and its deletion waits here instead of meeting us halfway.
create or replace function greenlight.require_user()
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    caller uuid;
begin
    select id
    into caller
    from auth.users
    where id = (select auth.uid())
    for key share;

    if caller is null then
        perform greenlight.refuse('not_authenticated', 'The request carries no user, or one who no longer exists.');
    end if;

    return caller;
end;
$$;

-- The API role of the caller; in a session without the API, whoever logged in.
create or replace function greenlight.actor_role()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(auth.role(), nullif(current_setting('role', true), 'none'), session_user::text);
end;
$$;

-- A title as it is stored: without the Unicode white space around it. Null where it is none: 1 to 500 code
-- points, no control characters, no line breaks. White space is the Unicode property White_Space, written out
-- because Postgres' own classes depend on the locale.
create or replace function greenlight.clean_title(title text)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    trimmed text := btrim(
        title,
        U&'\0009\000A\000B\000C\000D\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000'
    );
begin
    if char_length(trimmed) between 1 and 500 and trimmed !~ '[\u0001-\u001F\u007F-\u009F\u2028\u2029]' then
        return trimmed;
    end if;

    return null;
end;
$$;

-- The status machine, whole. Beside it, only a revision changes a status: approve_plan() puts the agent back
-- to building. Nothing leads out of archived.
create or replace function greenlight.may_transition(from_status text, to_status text, actor_role text)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select (from_status, to_status, actor_role) in (
        ('building', 'active', 'service_role'),
        ('active', 'paused', 'authenticated'),
        ('active', 'paused', 'service_role'),
        ('paused', 'active', 'authenticated'),
        ('paused', 'active', 'service_role'),
        ('building', 'archived', 'authenticated'),
        ('building', 'archived', 'service_role'),
        ('active', 'archived', 'authenticated'),
        ('active', 'archived', 'service_role'),
        ('paused', 'archived', 'authenticated'),
        ('paused', 'archived', 'service_role')
    );
$$;

-- Part 2: what triggers call ---------------------------------------------------------------------------------

-- updated_at moves on every update, forwards, also within one transaction and when the clock is set back.
create or replace function greenlight.touch()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    return new;
end;
$$;

create or replace function greenlight.refuse_rewrite()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    raise exception 'what was approved or recorded in % cannot be rewritten', tg_table_name
        using errcode = 'insufficient_privilege';
end;
$$;

-- An event goes with its agent: by then the agent's row is gone. Alone it stays.
create or replace function greenlight.keep_ledger()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if exists (select from public.agent where id = old.agent_id) then
        raise exception 'events cannot be deleted while their agent is there'
            using errcode = 'insufficient_privilege';
    end if;

    return old;
end;
$$;

-- The only writer of the ledger, so that nothing happens to an agent without it. The change holds the lock on
-- the agent's row, so ids and times follow the true order; created_at is the change's own updated_at.
create or replace function greenlight.record_event()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    kind text;
begin
    kind := case
        when tg_op = 'INSERT' then 'approved'
        when new.plan_id <> old.plan_id then 'revised'
        when old.deleted_at is null and new.deleted_at is not null then 'deleted'
        when old.deleted_at is not null and new.deleted_at is null then 'restored'
        when new.status <> old.status then 'status_changed'
    end;

    if kind is not null then
        insert into public.agent_event (
            user_id, agent_id, plan_id, kind, from_status, to_status,
            version, document_sha256, actor, actor_role, created_at
        )
        select
            new.user_id,
            new.id,
            new.plan_id,
            kind,
            case when tg_op = 'UPDATE' then old.status end,
            new.status,
            plan.version,
            plan.document_sha256,
            auth.uid(),
            greenlight.actor_role(),
            new.updated_at
        from public.plan
        where plan.id = new.plan_id;
    end if;

    return null;
end;
$$;

-- Part 3: approving ------------------------------------------------------------------------------------------

create or replace function greenlight.approve_plan(
    session_id text, version integer, title text, document_sha256 text, document_url text
)
returns public.plan_approval
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    caller uuid := greenlight.require_user();
    clean_title text := greenlight.clean_title(title);
    path text := caller::text || '/' || session_id || '/' || document_sha256 || '.md';
    signed text := '/object/sign/plans/' || path;
    agent public.agent;
    plan public.plan;
    newest integer;
    stored_id uuid;
begin
    -- What is wrong with the arguments, in their order. A null is wrong, too.
    if (session_id ~ '^[A-Za-z0-9_-]{1,128}$') is not true then
        perform greenlight.refuse('invalid_session_id', 'session_id does not match ^[A-Za-z0-9_-]{1,128}$.');
    end if;

    if (version >= 1) is not true then
        perform greenlight.refuse('invalid_version', 'version is not a whole number from 1.');
    end if;

    if clean_title is null then
        perform greenlight.refuse(
            'invalid_title',
            'After trimming, title has not 1 to 500 characters, or it has a control character or a line break.'
        );
    end if;

    if (document_sha256 ~ '^[0-9a-f]{64}$') is not true then
        perform greenlight.refuse('invalid_document_sha256', 'document_sha256 is not 64 lower-case hex digits.');
    end if;

    -- The shape is one constant pattern, which Postgres compiles once; one with the path in it would be compiled
    -- for every approval.
    if (
        char_length(document_url) <= 2048
        and document_url ~ '^https?://[^/?#[:space:]]+/[^?#[:space:]]*\?token=[^#[:space:]]+$'
        and right(split_part(document_url, '?', 1), char_length(signed)) = signed
    ) is not true then
        perform greenlight.refuse(
            'invalid_document_url', format('document_url is not a signed URL of plans/%s.', path)
        );
    end if;

    -- One approval of a session at a time, also the first one, when there is no row yet to lock.
    perform pg_advisory_xact_lock(hashtextextended('greenlight/' || caller::text || '/' || session_id, 0));

    select *
    into agent
    from public.agent as a
    where
        a.user_id = caller
        and a.session_id = approve_plan.session_id
    for no key update;

    if agent.id is not null then
        if agent.deleted_at is not null then
            perform greenlight.refuse('agent_deleted', format('Agent %s is deleted.', agent.id));
        end if;

        select *
        into plan
        from public.plan as p
        where
            p.user_id = caller
            and p.session_id = approve_plan.session_id
            and p.version = approve_plan.version;

        if plan.document_sha256 = document_sha256 then
            return (plan.id, agent.id, agent.status::text, plan.version, false);
        end if;

        if plan.id is not null then
            perform greenlight.refuse(
                'plan_conflict', format('Version %s was approved with another document.', version)
            );
        end if;

        if agent.status = 'archived' then
            perform greenlight.refuse('agent_archived', format('Agent %s is archived.', agent.id));
        end if;

        -- The agent is always built from its session's newest version.
        select p.version
        into newest
        from public.plan as p
        where p.id = agent.plan_id;

        if version < newest then
            perform greenlight.refuse(
                'plan_stale', format('Version %s is older than version %s, the newest approved.', version, newest)
            );
        end if;
    end if;

    -- The lock keeps the document from being deleted until the plan that refers to it is there for all to see,
    -- and waits for a delete that came first.
    select o.id
    into stored_id
    from storage.objects as o
    where
        o.bucket_id = 'plans'
        and o.name = path
    for key share;

    if stored_id is null then
        perform greenlight.refuse('document_not_found', format('There is no document at plans/%s.', path));
    end if;

    insert into public.plan (
        user_id, session_id, version, title, document_id, document_path, document_sha256, document_url
    )
    values (
        caller, session_id, version, clean_title, stored_id, path, document_sha256, document_url
    )
    returning * into plan;

    if agent.id is null then
        insert into public.agent (user_id, session_id, plan_id, name)
        values (caller, session_id, plan.id, left(clean_title, 200))
        returning * into agent;
    else
        update public.plan as p
        set status = 'superseded'
        where p.id = agent.plan_id;

        update public.agent as a
        set
            plan_id = plan.id,
            name = left(clean_title, 200),
            status = 'building'
        where a.id = agent.id
        returning * into agent;
    end if;

    return (plan.id, agent.id, agent.status::text, plan.version, true);
end;
$$;

create or replace function public.approve_plan(
    session_id text, version integer, title text, document_sha256 text, document_url text
)
returns public.plan_approval
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.approve_plan(session_id, version, title, document_sha256, document_url);
end;
$$;
comment on function public.approve_plan(text, integer, text, text, text) is
'Approves the stored document of a planning session: makes the plan, its agent and the event, together or not at '
'all. The same session, version and hash again is a replay: the same answer, created false, nothing written.';

-- Part 4: the life of an agent -------------------------------------------------------------------------------

create or replace function greenlight.transition_agent(agent_id uuid, to_status text, plan_id uuid)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    acting_as text := greenlight.actor_role();
    caller uuid;
    agent public.agent;
begin
    if acting_as is distinct from 'service_role' then
        caller := greenlight.require_user();
    end if;

    if (to_status in ('building', 'active', 'paused', 'archived')) is not true then
        perform greenlight.refuse('invalid_status', 'to_status is no status of an agent.');
    end if;

    -- The service role keeps the order of locks, too.
    perform
    from auth.users as u
    inner join public.agent as a on u.id = a.user_id
    where a.id = transition_agent.agent_id
    for key share of u;

    select *
    into agent
    from public.agent as a
    where
        a.id = transition_agent.agent_id
        and (acting_as = 'service_role' or a.user_id = caller)
    for no key update;

    if agent.id is null then
        perform greenlight.refuse('agent_not_found', 'There is no such agent.');
    end if;

    if agent.deleted_at is not null then
        perform greenlight.refuse('agent_deleted', format('Agent %s is deleted.', agent.id));
    end if;

    if agent.status = to_status then
        return agent;
    end if;

    if not greenlight.may_transition(agent.status, to_status, acting_as) then
        perform greenlight.refuse('illegal_transition', format('No way leads from %s to %s.', agent.status, to_status));
    end if;

    -- A builder says what it has built: meanwhile a newer version may have been approved.
    if agent.status = 'building' and to_status = 'active' then
        if plan_id is null then
            perform greenlight.refuse('invalid_plan_id', 'plan_id is missing.');
        end if;

        if plan_id <> agent.plan_id then
            perform greenlight.refuse(
                'plan_stale', format('The agent is built from plan %s now, version %s.', agent.plan_id, (
                    select p.version from public.plan as p where p.id = agent.plan_id
                ))
            );
        end if;
    end if;

    update public.agent as a
    set status = to_status
    where a.id = agent.id
    returning * into agent;

    if to_status = 'archived' then
        update public.plan as p
        set status = 'archived'
        where p.id = agent.plan_id;
    end if;

    return agent;
end;
$$;

create or replace function public.transition_agent(agent_id uuid, to_status text, plan_id uuid default null)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.transition_agent(agent_id, to_status, plan_id);
end;
$$;
comment on function public.transition_agent(uuid, text, uuid) is
'Changes an agent''s status. The owner pauses, resumes and archives; the service role also makes a building '
'agent active, naming the plan that was built. To the status that it already has: nothing happens.';

-- Deletes (deleted) or restores (not deleted) an agent of the caller and every plan of its session, together.
create or replace function greenlight.set_deleted(agent_id uuid, deleted boolean)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    caller uuid := greenlight.require_user();
    moment timestamptz := case when deleted then clock_timestamp() end;
    agent public.agent;
begin
    select *
    into agent
    from public.agent as a
    where
        a.id = set_deleted.agent_id
        and a.user_id = caller
    for no key update;

    if agent.id is null then
        perform greenlight.refuse('agent_not_found', 'There is no such agent.');
    end if;

    if (agent.deleted_at is not null) = deleted then
        return agent;
    end if;

    update public.agent as a
    set deleted_at = moment
    where a.id = agent.id
    returning * into agent;

    update public.plan as p
    set deleted_at = moment
    where
        p.user_id = agent.user_id
        and p.session_id = agent.session_id;

    return agent;
end;
$$;

create or replace function public.delete_agent(agent_id uuid)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.set_deleted(agent_id, true);
end;
$$;
comment on function public.delete_agent(uuid) is
'Deletes an agent of the caller and every plan of its session, softly: restore_agent() brings them back until '
'the retention time is over. Repeats are no-ops.';

create or replace function public.restore_agent(agent_id uuid)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.set_deleted(agent_id, false);
end;
$$;
comment on function public.restore_agent(uuid) is
'Brings back a deleted agent of the caller and every plan of its session. Repeats are no-ops.';

create or replace function greenlight.deleted_agents()
returns setof public.agent
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    -- Not require_user(): a read takes no lock.
    if not exists (select from auth.users where id = (select auth.uid())) then
        perform greenlight.refuse('not_authenticated', 'The request carries no user, or one who no longer exists.');
    end if;

    return query
    select *
    from public.agent as a
    where
        a.user_id = (select auth.uid())
        and a.deleted_at is not null
    order by a.deleted_at desc, a.id;
end;
$$;

create or replace function public.deleted_agents()
returns setof public.agent
language sql
stable
security invoker
set search_path = ''
as $$
    select * from greenlight.deleted_agents();
$$;
comment on function public.deleted_agents() is
'The caller''s deleted agents, newest first: what restore_agent() can still bring back.';

-- Part 5: retention, for the service role only ---------------------------------------------------------------

create or replace function greenlight.orphaned_documents(older_than interval, after_name text, batch_size integer)
returns table (id uuid, name text, created_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
    select
        o.id,
        o.name,
        o.created_at
    from storage.objects as o
    where
        o.bucket_id = 'plans'
        and o.name collate "C" > after_name
        and o.created_at < now() - older_than
        and not exists (select from public.plan as p where p.document_id = o.id)
    order by o.name collate "C"
    limit least(greatest(batch_size, 1), 1000);
$$;

create or replace function public.orphaned_documents(
    older_than interval, after_name text default '', batch_size integer default 500
)
returns table (id uuid, name text, created_at timestamptz)
language sql
stable
security invoker
set search_path = ''
as $$
    select * from greenlight.orphaned_documents(older_than, after_name, batch_size);
$$;
comment on function public.orphaned_documents(interval, text, integer) is
'Documents in the bucket plans that no plan refers to and that are older than older_than, by name, after '
'after_name, at most 1,000 at a time. For the service role. Remove them through the Storage API, which asks '
'again.';

-- Session by session: each is locked as every other change locks it, looked at again, and passed over while
-- somebody else is busy with it.
create or replace function greenlight.purge_deleted_agents(deleted_before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    candidate record;
    purged bigint := 0;
begin
    for candidate in
        select
            a.id,
            a.user_id,
            a.session_id
        from public.agent as a
        where a.deleted_at < purge_deleted_agents.deleted_before
        order by a.deleted_at
        limit least(greatest(batch_size, 1), 1000)
    loop
        perform
        from auth.users as u
        where u.id = candidate.user_id
        for key share skip locked;

        continue when not found;

        perform
        from public.agent as a
        where
            a.id = candidate.id
            and a.deleted_at < purge_deleted_agents.deleted_before
        for update skip locked;

        continue when not found;

        delete from public.agent as a
        where a.id = candidate.id;

        delete from public.plan as p
        where
            p.user_id = candidate.user_id
            and p.session_id = candidate.session_id;

        purged := purged + 1;
    end loop;

    return purged;
end;
$$;

create or replace function public.purge_deleted_agents(deleted_before timestamptz, batch_size integer default 100)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.purge_deleted_agents(deleted_before, batch_size);
end;
$$;
comment on function public.purge_deleted_agents(timestamptz, integer) is
'Removes for good the agents deleted before deleted_before, with their plans and events, at most 1,000 at a '
'time, and answers how many. For the service role. Call it until it answers 0; agents that somebody is busy with '
'wait for the next time.';

-- Part 6: who may call what ----------------------------------------------------------------------------------
-- Everybody may execute a new function by default, and older projects grant it to the API roles by name as
-- well. Take all of it back, then grant.

revoke all on all functions in schema greenlight from public, anon, authenticated, service_role;
revoke all on function
public.approve_plan(text, integer, text, text, text),
public.transition_agent(uuid, text, uuid),
public.delete_agent(uuid),
public.restore_agent(uuid),
public.deleted_agents(),
public.orphaned_documents(interval, text, integer),
public.purge_deleted_agents(timestamptz, integer)
from public, anon, authenticated, service_role;

grant execute on function
public.approve_plan(text, integer, text, text, text),
greenlight.approve_plan(text, integer, text, text, text),
public.transition_agent(uuid, text, uuid),
greenlight.transition_agent(uuid, text, uuid),
public.delete_agent(uuid),
public.restore_agent(uuid),
greenlight.set_deleted(uuid, boolean),
public.deleted_agents(),
greenlight.deleted_agents()
to authenticated;

grant execute on function
public.transition_agent(uuid, text, uuid),
greenlight.transition_agent(uuid, text, uuid),
public.orphaned_documents(interval, text, integer),
greenlight.orphaned_documents(interval, text, integer),
public.purge_deleted_agents(timestamptz, integer),
greenlight.purge_deleted_agents(timestamptz, integer)
to service_role;
