-- What changed in supabase/functions.sql since 0.2.0.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

-- All locks at once, as in 08. Reads wait, too, because existing indexes are exchanged.
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

drop index public.plan_newest_idx;
-- squawk-ignore renaming-object
alter index public.plan_newest_next_idx rename to plan_newest_idx;

drop index public.agent_by_status_idx;
-- squawk-ignore renaming-object
alter index public.agent_by_status_next_idx rename to agent_by_status_idx;

-- The target of agent_plan_fkey began with (user_id, session_id), like plan_session_version_key. To Postgres, which
-- expects a session to have one version, they were equally good for finding a version, and it read the whole session
-- by the wrong one. Now it begins with id.
-- squawk-ignore ban-drop-constraint
alter table public.agent drop constraint agent_plan_fkey;
-- squawk-ignore ban-drop-constraint
alter table public.plan drop constraint plan_session_plan_key;
alter table public.plan add constraint plan_session_plan_key unique using index plan_session_plan_next_key;
alter table public.agent add constraint agent_plan_fkey
foreign key (user_id, session_id, plan_id) references public.plan (user_id, session_id, id) on delete no action
not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.agent validate constraint agent_plan_fkey;

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

-- Written by `make migration` from supabase/functions.sql.

-- The session in Supabase Auth that a token with these claims names: its row of auth.sessions. Returns null if there is
-- none. As jsonb, because older projects have no oauth_client_id there. Some have no auth.sessions: plpgsql does not
-- look at the query before it runs it.
create or replace function greenlight.auth_session(claims jsonb)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_id text := claims ->> 'session_id';
    v_session jsonb;
begin
    if v_id ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' and to_regclass('auth.sessions') is not null then
        select to_jsonb(s)
        into v_session
        from auth.sessions as s
        where
            s.id = v_id::uuid
            and s.user_id = (select auth.uid());
    end if;

    return v_session;
end;
$$;
revoke all on function greenlight.auth_session from public, anon, authenticated, service_role;

-- The OAuth clients that act for the calling user: the token's client_id, whatever its JSON type, and the client of its
-- session, because a token hook of the project may drop the claim. Empty if the user acts.
create or replace function greenlight.clients()
returns jsonb[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_claims jsonb := greenlight.claims();
begin
    return array_remove(
        array[
            nullif(v_claims -> 'client_id', 'null'),
            nullif(greenlight.auth_session(v_claims) -> 'oauth_client_id', 'null')
        ],
        null
    );
end;
$$;
revoke all on function greenlight.clients from public, anon, authenticated, service_role;

-- The first of them that greenlight.trusted_client does not list; those that it lists count as the human. Returns null
-- if all are listed. Policies ask this.
create or replace function greenlight.untrusted_client()
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_client jsonb;
begin
    foreach v_client in array greenlight.clients() loop
        if jsonb_typeof(v_client) <> 'string' or not exists (
            select from greenlight.trusted_client as t
            where t.client_id = v_client #>> '{}'
        ) then
            return v_client;
        end if;
    end loop;

    return null;
end;
$$;
revoke all on function greenlight.untrusted_client from public, anon, authenticated, service_role;
grant execute on function greenlight.untrusted_client to authenticated;

-- The caller as plan.proposed_by and decided_via store it: service_role, user, or the id of the OAuth client. A client
-- cannot pose as one of the first two: if its id is one of these words, it is stored in its JSON quotes.
create or replace function greenlight.caller()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_client jsonb;
begin
    if greenlight.actor_role() = 'service_role' then
        return 'service_role';
    end if;

    v_client := (greenlight.clients())[1];

    return case
        when v_client is null then 'user'
        when v_client #>> '{}' in ('user', 'service_role') then v_client::text
        else v_client #>> '{}'
    end;
end;
$$;
revoke all on function greenlight.caller from public, anon, authenticated, service_role;

-- Locks a user's row: the account cannot be deleted before the end of the transaction, and its deletion waits here,
-- before it has locked anything of ours. Returns what is_active() does.
create or replace function greenlight.lock_user(user_id uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_active boolean;
begin
    select u.deleted_at is null and (u.banned_until > now()) is not true
    into v_active
    from auth.users as u
    where u.id = user_id
    for key share;

    return v_active;
end;
$$;
revoke all on function greenlight.lock_user from public, anon, authenticated, service_role;

-- Refuses a decision with a token that is not as strong and as fresh as greenlight.setting says. Supabase Auth writes
-- amr at the sign-in and when a factor is verified, and not at a refresh. A token hook may write anything there: what
-- is not an object with a time counts as none.
create or replace function greenlight.check_step_up(claims jsonb, setting greenlight.setting)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_signed_in numeric;
begin
    if setting.decision_aal = 'aal2' and (claims ->> 'aal' in ('aal2', 'aal3')) is not true then
        perform greenlight.refuse(
            'step_up_required', 'The project asks for a second factor (aal2) to decide, and the token has none.'
        );
    end if;

    if setting.decision_max_age is not null then
        select max((method -> 'timestamp')::numeric)
        into v_signed_in
        from jsonb_array_elements(
            case jsonb_typeof(claims -> 'amr') when 'array' then claims -> 'amr' else '[]' end
        ) as method
        where jsonb_typeof(method -> 'timestamp') = 'number';

        if (
            extract(epoch from clock_timestamp()) - v_signed_in <= extract(epoch from setting.decision_max_age)
        ) is not true then
            perform greenlight.refuse(
                'step_up_required',
                format(
                    'The project asks for a sign-in within %s before a decision, and the token has none.',
                    setting.decision_max_age
                )
            );
        end if;
    end if;
end;
$$;
revoke all on function greenlight.check_step_up from public, anon, authenticated, service_role;

-- Returns the user for whom a planner calls: the caller, or whom the service role names. Locks the user's row. Nothing
-- new is proposed to a user who may not act any more (active); what was proposed to them can be withdrawn.
create or replace function greenlight.named_user(user_id uuid, active boolean)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_user uuid;
    v_active boolean;
begin
    if greenlight.actor_role() <> 'service_role' then
        v_user := greenlight.require_user();

        if named_user.user_id <> v_user then
            perform greenlight.refuse('invalid_user_id', 'user_id is not the caller''s own.');
        end if;

        return v_user;
    end if;

    v_active := greenlight.lock_user(user_id);

    if v_active is null or (active and not v_active) then
        perform greenlight.refuse(
            'invalid_user_id', 'user_id is missing, or there is no such user, or they are deleted or banned.'
        );
    end if;

    return user_id;
end;
$$;
revoke all on function greenlight.named_user from public, anon, authenticated, service_role;

-- A title as it is stored: trimmed. Returns null if it is not 1 to 500 code points, has a control character, a line
-- break or a bidi control (which shows it in another order), or if nothing in it can be seen: the second pattern lists
-- the categories Cf, Cc and Z, and what is blank of other categories.
create or replace function greenlight.clean_title(title text)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    v_title text := greenlight.trim_space(title);
begin
    if
        char_length(v_title) between 1 and 500
        and v_title !~ '[\u0001-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]'
        and v_title
        ~ '[^\u0001-\u0020\u007F-\u00A0\u00AD\u0600-\u0605\u061C\u06DD\u070F\u0890\u0891\u08E2\u115F\u1160\u1680\u180E\u2000-\u200F\u2028-\u202F\u205F-\u2064\u2066-\u206F\u2800\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF9-\uFFFB\U000110BD\U000110CD\U00013430-\U0001343F\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E007F]'
    then
        return v_title;
    end if;

    return null;
end;
$$;
revoke all on function greenlight.clean_title from public, anon, authenticated, service_role;

-- Returns the title as it is stored. One that the version already has is not judged again, because the rule was another
-- one when it was proposed: null is returned.
create or replace function greenlight.check_title(user_id uuid, session_id text, version integer, title text)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_title text := greenlight.clean_title(title);
begin
    if v_title is not null then
        return v_title;
    end if;

    if not exists (
        select from public.plan as p
        where
            p.user_id = check_title.user_id
            and p.session_id = check_title.session_id
            and p.version = check_title.version
            and p.title = greenlight.trim_space(check_title.title)
    ) then
        perform greenlight.refuse(
            'invalid_title',
            'After trimming, title is not 1 to 500 characters, or has a control character, a line break or a bidi '
            'control, or nothing in it can be seen.'
        );
    end if;

    return null;
end;
$$;
revoke all on function greenlight.check_title from public, anon, authenticated, service_role;

-- Returns the path of the document that has this hash. The URL may be null.
create or replace function greenlight.check_path(
    user_id uuid, session_id text, document_sha256 text, document_url text
)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_path text := user_id::text || '/' || session_id || '/' || document_sha256 || '.md';
    v_signed text := '/object/sign/plans/' || v_path;
begin
    if (document_sha256 !~ '[^0-9a-f]' and octet_length(document_sha256) = 64) is not true then
        perform greenlight.refuse('invalid_document_sha256', 'document_sha256 is not 64 lower-case hex digits.');
    end if;

    -- The shape is one constant pattern, which Postgres compiles once; one with the path in it would be compiled for
    -- every call.
    if not (
        char_length(document_url) <= 2048
        and document_url ~ '^https?://[^/?#[:space:]]+/[^?#[:space:]]*\?token=[^#[:space:]]+$'
        and right(split_part(document_url, '?', 1), char_length(v_signed)) = v_signed
    ) then
        perform greenlight.refuse(
            'invalid_document_url', format('document_url is not a signed URL of plans/%s.', v_path)
        );
    end if;

    return v_path;
end;
$$;
revoke all on function greenlight.check_path from public, anon, authenticated, service_role;

-- Locks a session. Returns its newest plan, or null if it has none; no other call can add one until the end of the
-- transaction. An undecided proposal is always the newest version, and the approved plan is the one that the agent is
-- built from: look for these by their keys, since a session may have any number of others. (Two steps, because a
-- statement sees only what was committed before it began.)
create or replace function greenlight.lock_newest_plan(user_id uuid, session_id text)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(greenlight.session_key(user_id, session_id));

    return greenlight.newest_plan(user_id, session_id);
end;
$$;
revoke all on function greenlight.lock_newest_plan from public, anon, authenticated, service_role;

create or replace function greenlight.refuse_deleted(agent public.agent)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if agent.deleted_at is not null then
        perform greenlight.refuse('agent_deleted', format('Agent %s is deleted.', agent.id));
    end if;
end;
$$;
revoke all on function greenlight.refuse_deleted from public, anon, authenticated, service_role;

-- Locks the agent of a session, which is locked already. Returns null if there is none yet; refuses a deleted one.
create or replace function greenlight.lock_session_agent(user_id uuid, session_id text)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_agent public.agent;
begin
    select *
    into v_agent
    from public.agent as a
    where
        a.user_id = lock_session_agent.user_id
        and a.session_id = lock_session_agent.session_id
    for no key update;

    if found then
        perform greenlight.refuse_deleted(v_agent);
    end if;

    return v_agent;
end;
$$;
revoke all on function greenlight.lock_session_agent from public, anon, authenticated, service_role;

-- Whether an object of this metadata has more bytes than a document may have. Storage writes a number; digits in a
-- string count, too. Of what has no size nothing is known.
create or replace function greenlight.is_too_large(metadata jsonb)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    v_size text := metadata ->> 'size';
begin
    return case
        when jsonb_typeof(metadata -> 'size') = 'number' then v_size::numeric > 1048576
        when v_size ~ '^[0-9]+$' then (length(ltrim(v_size, '0')), ltrim(v_size, '0')) > (7, '1048576')
        else false
    end;
end;
$$;
revoke all on function greenlight.is_too_large from public, anon, authenticated, service_role;

-- Returns the id of the object at this path in the bucket plans. The lock keeps it from being deleted before the plan
-- that is going to refer to it is committed, and waits for a delete that came first.
--
-- Newer versions of Storage keep several rows of a name, and index the name in the collation C only. The older ones
-- have that index, too, but not the columns, so to_jsonb() looks for them.
create or replace function greenlight.lock_document(path text)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_metadata jsonb;
begin
    select
        o.id,
        o.metadata
    into v_id, v_metadata
    from storage.objects as o
    cross join lateral (select to_jsonb(o) as columns offset 0) as later
    where
        o.bucket_id = 'plans'
        and o.name collate "C" = path
        and later.columns ->> 'archived_at' is null
        and later.columns ->> 'is_delete_marker' is distinct from 'true'
    order by o.created_at desc
    limit 1
    for key share of o;

    if v_id is null then
        perform greenlight.refuse('document_not_found', format('There is no document at plans/%s.', path));
    end if;

    if greenlight.is_too_large(v_metadata) then
        perform greenlight.refuse(
            'document_too_large', format('The object at plans/%s has more than 1,048,576 bytes.', path)
        );
    end if;

    return v_id;
end;
$$;
revoke all on function greenlight.lock_document from public, anon, authenticated, service_role;

-- Returns a version of the session whose newest plan this is, or null if there is none. (It is read, even if it is the
-- newest: who archives or deletes the agent has changed it until the agent was locked.)
create or replace function greenlight.find_plan(newest public.plan, version integer)
returns public.plan
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_plan public.plan;
begin
    if version <= newest.version then
        select *
        into v_plan
        from public.plan as p
        where
            p.user_id = newest.user_id
            and p.session_id = newest.session_id
            and p.version = find_plan.version;
    end if;

    return v_plan;
end;
$$;
revoke all on function greenlight.find_plan from public, anon, authenticated, service_role;

-- Refuses a version that nothing more can be done with. The plan is null if there is no such version, and the agent
-- where it may be archived.
create or replace function greenlight.refuse_closed(
    plan public.plan, agent public.agent, version integer, newest integer
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if plan.status not in ('proposed', 'superseded') then
        perform greenlight.refuse('plan_decided', format('Version %s was decided: %s.', version, plan.status));
    end if;

    if agent.status = 'archived' then
        perform greenlight.refuse('agent_archived', format('Agent %s is archived.', agent.id));
    end if;

    if plan.status = 'superseded' then
        perform greenlight.refuse(
            'plan_stale', format('Version %s was replaced; version %s is the newest.', version, newest)
        );
    end if;

    if version < newest then
        perform greenlight.refuse(
            'plan_stale', format('Version %s is not higher than version %s, the newest.', version, newest)
        );
    end if;
end;
$$;
revoke all on function greenlight.refuse_closed from public, anon, authenticated, service_role;

-- Supersedes the newest plan of a session if it is an undecided proposal.
create or replace function greenlight.supersede_proposal(newest public.plan)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if newest.status = 'proposed' then
        update public.plan as p
        set status = 'superseded'
        where
            p.id = newest.id
            and p.status = 'proposed';
    end if;
end;
$$;
revoke all on function greenlight.supersede_proposal from public, anon, authenticated, service_role;

-- Session by session: each is locked as every other change locks it, checked again, and skipped if it is locked. A call
-- removes about 10,000 plans, so that it ends in time: what a session has beyond that is left for the next call, and
-- its agent with it.
create or replace function greenlight.purge_deleted_agents(deleted_before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_agent public.agent;
    v_room integer := 10000;
    v_plans integer;
    v_purged bigint := 0;
begin
    for v_agent in
        select *
        from public.agent as a
        where a.deleted_at < purge_deleted_agents.deleted_before
        order by a.deleted_at
        limit least(greatest(batch_size, 1), 1000)
    loop
        perform
        from auth.users as u
        where u.id = v_agent.user_id
        for key share skip locked;

        continue when not found;
        continue when not pg_try_advisory_xact_lock(greenlight.session_key(v_agent.user_id, v_agent.session_id));

        perform
        from public.agent as a
        where
            a.id = v_agent.id
            and a.deleted_at < purge_deleted_agents.deleted_before
        for update skip locked;

        continue when not found;

        v_purged := v_purged + 1;

        -- Neither the agent nor its log refers to a plan that was never approved.
        delete from public.plan as p
        where p.id in (
            select unapproved.id
            from public.plan as unapproved
            where
                unapproved.user_id = v_agent.user_id
                and unapproved.session_id = v_agent.session_id
                and (
                    unapproved.decided_at is null
                    or unapproved.status in ('changes_requested', 'rejected', 'withdrawn')
                )
            limit v_room
        );

        get diagnostics v_plans = row_count;
        v_room := v_room - v_plans;
        exit when v_room = 0;

        delete from public.agent as a
        where a.id = v_agent.id;

        delete from public.plan as p
        where
            p.user_id = v_agent.user_id
            and p.session_id = v_agent.session_id;

        get diagnostics v_plans = row_count;
        v_room := v_room - v_plans;
        exit when v_room <= 0;
    end loop;

    return v_purged;
end;
$$;
revoke all on function greenlight.purge_deleted_agents from public, anon, authenticated, service_role;
grant execute on function greenlight.purge_deleted_agents to service_role;

notify pgrst, 'reload schema';
