-- Someone other than the owner decides: teams, which are the project's own. And how strong and fresh the token of a
-- decision has to be.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

-- All locks at once, as in 08.
do $$
begin
    lock table
    greenlight.setting, public.plan, public.agent, public.agent_event, public.build, public.build_log
    in share update exclusive mode;

    for v_try in 1..20 loop
        begin
            set local lock_timeout = '200ms';
            lock table
            greenlight.setting, public.plan, public.agent, public.agent_event, public.build, public.build_log
            in access exclusive mode;
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

-- Its parameters get other names.
drop function if exists greenlight.lock_agent(uuid, uuid);
drop function if exists greenlight.insert_plan(
    uuid, text, integer, text, text, text, text, text, timestamptz, text, text, jsonb
);

alter table greenlight.setting
add column self_approval boolean not null default true,
add column require_team boolean not null default false,
add column decision_aal text not null default 'aal1',
add column decision_max_age interval,
add constraint setting_decision_aal_check check (decision_aal in ('aal1', 'aal2')) not valid,
add constraint setting_decision_max_age_check check (decision_max_age > interval '0') not valid;
-- squawk-ignore constraint-missing-not-valid
alter table greenlight.setting validate constraint setting_decision_aal_check;
-- squawk-ignore constraint-missing-not-valid
alter table greenlight.setting validate constraint setting_decision_max_age_check;

comment on column greenlight.setting.self_approval is
'Whether the owner of a team''s plan, if they are one of its approvers, may decide on it.';
comment on column greenlight.setting.require_team is
'Whether every plan needs a team. Without it, an owner goes round self_approval in a session without a team.';
comment on column greenlight.setting.decision_aal is
'The least aal claim of a token that decides: aal1, or aal2 for a second factor.';
comment on column greenlight.setting.decision_max_age is
'How long ago the human may have signed in, at most, to decide. Null: any time.';

-- The project's own functions: a migration of the project replaces them, an upgrade of Greenlight never does. They are
-- here and not in functions.sql, and they are left alone if they are there already.
do $$
begin
    if to_regprocedure('greenlight.viewer_teams()') is null then
        create function greenlight.viewer_teams()
        returns setof uuid
        language plpgsql
        stable
        security definer
        set search_path = ''
        as 'begin return; end;';
    end if;

    if to_regprocedure('greenlight.approver_teams()') is null then
        create function greenlight.approver_teams()
        returns setof uuid
        language plpgsql
        stable
        security definer
        set search_path = ''
        as 'begin return; end;';
    end if;

    if to_regprocedure('greenlight.display_name(uuid)') is null then
        create function greenlight.display_name(uuid)
        returns text
        language sql
        stable
        security definer
        set search_path = ''
        as 'select null::text';
    end if;
end;
$$;

comment on function greenlight.viewer_teams() is
'The project''s own: the teams whose plans the calling user (auth.uid()) may read. Greenlight calls it as its own '
'owner, to whom no policy applies: filter by auth.uid() here, or every stranger is in every team. Stable, security '
'definer, set search_path = '''', qualified names; no row for a user without a team.';
comment on function greenlight.approver_teams() is
'The project''s own: the teams whose plans the calling user (auth.uid()) may read and decide. The rules of '
'viewer_teams() hold here, too.';
comment on function greenlight.display_name(uuid) is
'The project''s own: what a user is called in the history of a plan. Null: pages show the beginning of the id. It is '
'asked only of people in plans that the caller may read.';

-- Only our own functions, which run as their owner, call them.
revoke all on function
greenlight.viewer_teams(),
greenlight.approver_teams(),
greenlight.display_name(uuid)
from public, anon, authenticated, service_role;

alter table public.plan
add column team_id uuid,
add column decided_by uuid;
alter table public.agent add column team_id uuid;

-- With them an index finds what a team may read, as user_id does for the owner. They follow from the agent.
alter table public.agent_event add column team_id uuid;
alter table public.build add column team_id uuid;
alter table public.build_log add column team_id uuid;

comment on column public.plan.team_id is
'The team whose approvers decide. A session keeps the team of its first plan. Null: the owner decides.';
comment on column public.plan.decided_by is
'auth.uid() of who decided. It stays when that user is removed. Null: undecided, decided by the service role, or '
'before version 0.3.';
comment on column public.agent.team_id is
'Its plan''s team, for good.';
comment on column public.agent_event.team_id is
'The agent''s team.';
comment on column public.build.team_id is
'The agent''s team.';
comment on column public.build_log.team_id is
'The agent''s team.';
comment on table public.plan is
'One revision of a planning session''s document that was proposed or approved. Its contents never change; only '
'status, the decision (decided_at, decided_by, decided_aal, decided_via, comment, comments), updated_at and deleted_at '
'do. Written by functions only.';
comment on column public.plan.comment is
'What the human wrote with the decision, about the whole plan.';

-- These columns are set only with a decision. (The lock is held while the rows are checked: 0.2 s for a million.)
-- squawk-ignore ban-drop-constraint
alter table public.plan drop constraint plan_decision_check;
alter table public.plan add constraint plan_decision_check
check (decided_at is not null or coalesce(decided_aal, decided_via, decided_by::text, comment) is null) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.plan validate constraint plan_decision_check;

alter type public.build_claim add attribute team_id uuid;

create type public.plan_team as (
    team_id uuid,
    may_decide boolean,
    may_decide_own boolean
);
comment on type public.plan_team is
'A team of the caller, as plan_teams() answers it.';

create type public.display_name as (
    user_id uuid,
    name text
);
comment on type public.display_name is
'What a user is called, as display_names() answers it.';

-- A team's newest plans and agents, by status, too, which is how its approvers ask for what waits; its deleted agents.
-- (Only rows with a team are in these, so that they cost others nothing. The status is a column and no condition,
-- because the Data API prepares its statements, and then Postgres does not know which status is asked for.)
create index plan_team_idx on public.plan (team_id, created_at desc, id desc)
where team_id is not null and deleted_at is null;
create index plan_team_by_status_idx on public.plan (team_id, status, created_at desc, id desc)
where team_id is not null and deleted_at is null;
create index agent_team_idx on public.agent (team_id, created_at desc, id desc)
where team_id is not null and deleted_at is null;
create index agent_team_by_status_idx on public.agent (team_id, status, created_at desc, id desc)
where team_id is not null and deleted_at is null;
create index agent_team_deleted_idx on public.agent (team_id, deleted_at)
where team_id is not null and deleted_at is not null;

-- A team's rows, for the policies.
create index agent_event_team_idx on public.agent_event (team_id, id) where team_id is not null;
create index build_team_idx on public.build (team_id, created_at) where team_id is not null;
create index build_log_team_idx on public.build_log (team_id) where team_id is not null;

-- As for user_id: Postgres always begins at the team.
alter table public.plan alter column team_id set (n_distinct = -0.5);
alter table public.agent alter column team_id set (n_distinct = -0.5);
alter table public.agent_event alter column team_id set (n_distinct = -0.5);
alter table public.build alter column team_id set (n_distinct = -0.5);
alter table public.build_log alter column team_id set (n_distinct = -0.5);
analyze public.plan, public.agent, public.agent_event, public.build, public.build_log;

-- Written by `make migration` from supabase/functions.sql.

drop function greenlight.approve_plan(text, integer, text, text, text);
drop function greenlight.check_document(uuid, text, integer, text, text, text, boolean);
drop function greenlight.decide_plan(uuid, text, integer, text, text);
drop function greenlight.human_or_service_role();
drop function greenlight.lock_session(uuid, text);
drop function greenlight.propose_plan(text, integer, text, text, text, timestamp with time zone, uuid);
drop function greenlight.proposer();
drop function greenlight.reject_plan(text, integer, text);
drop function greenlight.request_changes(text, integer, text);
drop function greenlight.require_human();
drop function greenlight.require_user();
drop function greenlight.user_or_named(uuid);
drop function public.approve_plan(text, integer, text, text, text);
drop function public.propose_plan(text, integer, text, text, text, timestamp with time zone, uuid);
drop function public.reject_plan(text, integer, text);
drop function public.request_changes(text, integer, text);

-- Ends the call with one of our errors. This is the table of codes; docs/errors.md and the service's table are tested
-- against it. PostgREST turns PTxxx into the HTTP status and puts the message into the status line, so the message is
-- the code and nothing else.
create or replace function greenlight.refuse(code text, details text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_status text;
    v_hint text;
begin
    select error.status, error.hint
    into strict v_status, v_hint
    from (
        values
        ('not_authenticated', 'PT401', 'Sign in and retry with a fresh access token.'),
        ('human_required', 'PT403', 'The user has to do this in their own session, signed in, not through an OAuth client.'),
        ('step_up_required', 'PT403', 'Verify the second factor or sign in again, then retry with the new access token.'),
        ('approver_required', 'PT403', 'Let an approver of the team do this; plan_teams() names the caller''s teams.'),
        ('agent_not_found', 'PT404', 'Check the id; agents of other users and purged agents are not found.'),
        ('plan_not_found', 'PT404', 'Check session_id and version: the user has no such plan.'),
        ('build_not_found', 'PT404', 'Stop the work. The build was deleted with its user or agent.'),
        ('document_not_found', 'PT404', 'Upload the document to its path in the bucket plans, then try again.'),
        ('document_too_large', 'PT413', 'Store a document of at most 1 MiB (1,048,576 bytes).'),
        ('plan_conflict', 'PT409', 'Use a higher version for a changed document.'),
        ('plan_stale', 'PT409', 'Read the newest version; it replaces this one.'),
        ('plan_decided', 'PT409', 'A decision is final. Propose a changed document as a higher version.'),
        ('plan_expired', 'PT409', 'Propose the plan again as a higher version.'),
        ('agent_archived', 'PT409', 'Archived is final. Start a new planning session.'),
        ('agent_deleted', 'PT409', 'Restore the agent with restore_agent() first.'),
        ('illegal_transition', 'PT409', 'Read the agent again; the documentation lists the allowed transitions.'),
        ('build_lost', 'PT409', 'Stop the work. This attempt has no effect any more.'),
        ('invalid_session_id', 'PT422', 'Use 1 to 128 of the characters A-Z, a-z, 0-9, _ and -.'),
        ('invalid_version', 'PT422', 'Use a whole number from 1, as an OAuth client the next one.'),
        ('invalid_title', 'PT422', 'Use 1 to 500 characters on one line that can be seen, without control characters.'),
        ('invalid_document_sha256', 'PT422', 'Use the SHA-256 of the document''s bytes as 64 lower-case hex digits.'),
        (
            'invalid_document_url',
            'PT422',
            'Use the signed URL that storage returned for the document''s path, at most 2,048 characters.'
        ),
        ('invalid_expires_at', 'PT422', 'Use a finite time in the future, or leave it out.'),
        ('invalid_user_id', 'PT422', 'As a user, leave user_id out. As the service role, name an existing user.'),
        ('invalid_team_id', 'PT422', 'Leave team_id out, or name the session''s team, in which the caller must be.'),
        ('invalid_comment', 'PT422', 'Use 1 to 4,000 characters, not only white space.'),
        ('invalid_comments', 'PT422', 'Use 1 to 200 objects with start, end, exact and body, as the documentation says.'),
        ('invalid_message', 'PT422', 'Use 1 to 4,000 characters, not only white space, or leave it out.'),
        ('invalid_status', 'PT422', 'Use building, active, paused, failed or archived.'),
        ('invalid_worker', 'PT422', 'Use a name of 1 to 200 characters.'),
        ('invalid_max_builds', 'PT422', 'Use a whole number from 1 to 100.'),
        ('invalid_subscriber', 'PT422', 'Use 1 to 40 of the characters a-z, 0-9, _ and -.'),
        ('invalid_max_notifications', 'PT422', 'Use a whole number from 1 to 100.'),
        ('invalid_retry_seconds', 'PT422', 'Use a whole number from 0 to 86400, or leave it out.'),
        ('invalid_lease_seconds', 'PT422', 'Use a whole number from 5 to 3600.'),
        ('invalid_progress', 'PT422', 'Use a whole number from 0 to 100, or leave it out.'),
        ('invalid_retry', 'PT422', 'Use true or false.'),
        ('invalid_result', 'PT422', 'Use a JSON object of at most 16,384 bytes, or leave it out.')
    ) as error (code, status, hint)
    where error.code = refuse.code;

    raise exception using errcode = v_status, message = refuse.code, detail = refuse.details, hint = v_hint;
end;
$$;
revoke all on function greenlight.refuse from public, anon, authenticated, service_role;

-- Whether a user may act: null if there is no such user, false if Supabase Auth has deleted (softly) or banned them.
create or replace function greenlight.is_active(user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select u.deleted_at is null and (u.banned_until > now()) is not true
        from auth.users as u
        where u.id = user_id
    );
end;
$$;
revoke all on function greenlight.is_active from public, anon, authenticated, service_role;

-- Returns the calling user, or refuses with not_authenticated. Locks nothing.
create or replace function greenlight.check_user()
returns uuid
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_user uuid := auth.uid();
begin
    if greenlight.is_active(v_user) is not true then
        perform greenlight.refuse(
            'not_authenticated', 'The token has no user, or the user no longer exists or is banned.'
        );
    end if;

    return v_user;
end;
$$;
revoke all on function greenlight.check_user from public, anon, authenticated, service_role;

-- As check_user(), and locks the user's row if the call is about what they own: owner_id is null, or the user.
create or replace function greenlight.require_user(owner_id uuid default null)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_user uuid := auth.uid();
begin
    if owner_id <> v_user or greenlight.lock_user(v_user) is not true then
        return greenlight.check_user();
    end if;

    return v_user;
end;
$$;
revoke all on function greenlight.require_user from public, anon, authenticated, service_role;

-- As require_user(), and refuses with human_required what is not the human: an OAuth client and, as
-- greenlight.setting says, an anonymous user and a token without a session. Any is_anonymous but false and null counts.
-- A decision (decides) may need more.
create or replace function greenlight.require_human(owner_id uuid, decides boolean)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_user uuid := greenlight.require_user(owner_id);
    v_client jsonb := greenlight.untrusted_client();
    v_claims jsonb := greenlight.claims();
    v_setting greenlight.setting;
begin
    if v_client is not null then
        perform greenlight.refuse(
            'human_required', format('The token belongs to the OAuth client %s, which acts for the user.', v_client)
        );
    end if;

    select *
    into v_setting
    from greenlight.setting;

    if
        v_setting.anonymous_may_decide is not true
        and coalesce(v_claims -> 'is_anonymous', 'false') not in ('false', 'null')
    then
        perform greenlight.refuse(
            'human_required', 'The user is anonymous, and greenlight.setting.anonymous_may_decide is false.'
        );
    end if;

    if v_setting.require_session and greenlight.auth_session(v_claims) is null then
        perform greenlight.refuse(
            'human_required',
            'The token has no session in auth.sessions (signed out?), and greenlight.setting.require_session is true.'
        );
    end if;

    if decides then
        perform greenlight.check_step_up(v_claims, v_setting);
    end if;

    return v_user;
end;
$$;
revoke all on function greenlight.require_human from public, anon, authenticated, service_role;

-- Returns the calling human, or null for the service role.
create or replace function greenlight.human_or_service_role(owner_id uuid)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if greenlight.actor_role() = 'service_role' then
        return null;
    end if;

    return greenlight.require_human(owner_id, decides => false);
end;
$$;
revoke all on function greenlight.human_or_service_role from public, anon, authenticated, service_role;

-- The teams whose plans and agents the caller may read. An array, so that a policy asks once a statement.
create or replace function greenlight.readable_teams()
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return array(
        select greenlight.viewer_teams()
        union
        select greenlight.approver_teams()
    );
end;
$$;
revoke all on function greenlight.readable_teams from public, anon, authenticated, service_role;
grant execute on function greenlight.readable_teams to authenticated;

-- What hides a row of another user from their team: that its agent is deleted. (Agent's own policy would ask for the
-- teams a second time.)
create or replace function greenlight.is_deleted(agent_id uuid)
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return exists (
        select from public.agent as a
        where
            a.id = agent_id
            and a.deleted_at is not null
    );
end;
$$;
revoke all on function greenlight.is_deleted from public, anon, authenticated, service_role;
grant execute on function greenlight.is_deleted to authenticated;

create or replace function greenlight.is_session_deleted(user_id uuid, session_id text)
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return exists (
        select from public.agent as a
        where
            a.user_id = is_session_deleted.user_id
            and a.session_id = is_session_deleted.session_id
            and a.deleted_at is not null
    );
end;
$$;
revoke all on function greenlight.is_session_deleted from public, anon, authenticated, service_role;
grant execute on function greenlight.is_session_deleted to authenticated;

-- What the calling user is in this team: approver, viewer, or null for neither. Without a team it is null.
create or replace function greenlight.role_in(team_id uuid)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if team_id is null then
        return null;
    end if;

    return case
        when team_id in (select greenlight.approver_teams()) then 'approver'
        when team_id in (select greenlight.viewer_teams()) then 'viewer'
    end;
end;
$$;
revoke all on function greenlight.role_in from public, anon, authenticated, service_role;

-- The newest plan of a session, which has its team. Returns null if there is none.
create or replace function greenlight.newest_plan(user_id uuid, session_id text)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_plan public.plan;
begin
    select *
    into v_plan
    from public.plan as p
    where
        p.user_id = newest_plan.user_id
        and p.session_id = newest_plan.session_id
    order by p.version desc
    limit 1;

    return v_plan;
end;
$$;
revoke all on function greenlight.newest_plan from public, anon, authenticated, service_role;

-- Refuses a caller who may not decide on this version (approves: or not approve it) of the session whose newest plan
-- this is. Asked before the session's lock, so that no stranger can hold the lock, and again under it, because a caller
-- may leave the team while they wait.
create or replace function greenlight.check_decider(
    user_id uuid, owner_id uuid, newest public.plan, version integer, approves boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_own boolean := user_id = owner_id;
    v_role text;
begin
    if v_own and newest.team_id is null then
        if approves and (select s.require_team from greenlight.setting as s) then
            perform greenlight.refuse(
                'approver_required', 'The plan has no team, and greenlight.setting.require_team is true.'
            );
        end if;

        return;
    end if;

    v_role := greenlight.role_in(newest.team_id);

    if not v_own then
        perform greenlight.check_user();

        if v_role is null then
            perform greenlight.refuse('plan_not_found', 'There is no such session, or the caller may not read it.');
        end if;
    end if;

    if v_role is distinct from 'approver' then
        perform greenlight.refuse(
            'approver_required',
            format('The plan is of team %s, and the caller is not one of its approvers.', newest.team_id)
        );
    end if;

    if v_own and not (select s.self_approval from greenlight.setting as s) then
        perform greenlight.refuse(
            'approver_required',
            format('The plan is the caller''s own: another approver of team %s decides.', newest.team_id)
        );
    end if;

    if not v_own and (greenlight.find_plan(newest, version)).id is null then
        perform greenlight.refuse('plan_not_found', format('There is no version %s in this session.', version));
    end if;
end;
$$;
revoke all on function greenlight.check_decider from public, anon, authenticated, service_role;

-- Returns whose agent this is, or null if there is no such agent: before any lock.
create or replace function greenlight.owner_of(agent_id uuid)
returns uuid
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select a.user_id
        from public.agent as a
        where a.id = agent_id
    );
end;
$$;
revoke all on function greenlight.owner_of from public, anon, authenticated, service_role;

-- Refuses a caller who is not an approver of the agent's team: as for an unknown agent, if they may not read it.
create or replace function greenlight.check_approver(agent public.agent)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_role text := greenlight.role_in(agent.team_id);
begin
    perform greenlight.check_user();

    if v_role is null then
        perform greenlight.refuse('agent_not_found', 'There is no such agent.');
    end if;

    if v_role <> 'approver' then
        perform greenlight.refuse(
            'approver_required',
            format('The agent is of team %s, and the caller is not one of its approvers.', agent.team_id)
        );
    end if;
end;
$$;
revoke all on function greenlight.check_approver from public, anon, authenticated, service_role;

-- Locks an agent for a caller who owns it, and is locked already; who is an approver of its team; or null, the service
-- role, for whom it is any agent. The owner is locked first.
create or replace function greenlight.lock_agent(agent_id uuid, user_id uuid)
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
        a.id = lock_agent.agent_id
        and a.user_id = lock_agent.user_id
    for no key update;

    if found then
        return v_agent;
    end if;

    select *
    into v_agent
    from public.agent as a
    where a.id = lock_agent.agent_id;

    -- Before the locks, so that no stranger can hold them, and again under them.
    if user_id is not null then
        perform greenlight.check_approver(v_agent);
    end if;

    perform greenlight.lock_user(v_agent.user_id);

    select *
    into v_agent
    from public.agent as a
    where a.id = lock_agent.agent_id
    for no key update;

    if not found then
        perform greenlight.refuse('agent_not_found', 'There is no such agent.');
    end if;

    if user_id is not null then
        perform greenlight.check_approver(v_agent);
    end if;

    return v_agent;
end;
$$;
revoke all on function greenlight.lock_agent from public, anon, authenticated, service_role;

-- The only writer of the audit log, so that no change of an agent is missing there. The change holds the lock on the
-- agent's row, so ids and times follow the true order; created_at is the change's own updated_at.
create or replace function greenlight.record_event()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_role text;
    v_kind text := case
        when tg_op = 'INSERT' then 'approved'
        when new.plan_id <> old.plan_id then 'revised'
        when old.deleted_at is null and new.deleted_at is not null then 'deleted'
        when old.deleted_at is not null and new.deleted_at is null then 'restored'
        when new.status <> old.status then 'status_changed'
    end;
begin
    if v_kind is not null then
        v_role := greenlight.actor_role();

        insert into public.agent_event (
            user_id, team_id, agent_id, plan_id, kind, from_status, to_status,
            version, document_sha256, actor, actor_role, created_at
        )
        select
            new.user_id,
            new.team_id,
            new.id,
            new.plan_id,
            v_kind,
            case when tg_op = 'UPDATE' then old.status end,
            new.status,
            p.version,
            p.document_sha256,
            case when v_role <> 'service_role' then auth.uid() end,
            v_role,
            new.updated_at
        from public.plan as p
        where p.id = new.plan_id;
    end if;

    return null;
end;
$$;
revoke all on function greenlight.record_event from public, anon, authenticated, service_role;

-- An agent is of its plan's team, for good. (A foreign key would not see a null.)
create or replace function greenlight.keep_team()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if
        new.team_id is distinct from (select p.team_id from public.plan as p where p.id = new.plan_id)
        or (tg_op = 'UPDATE' and new.team_id is distinct from old.team_id)
    then
        raise exception 'an agent is of its plan''s team, for good'
            using errcode = 'insufficient_privilege';
    end if;

    return new;
end;
$$;
revoke all on function greenlight.keep_team from public, anon, authenticated, service_role;

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
            insert into public.build (user_id, team_id, agent_id, plan_id, max_attempts)
            select
                new.user_id,
                new.team_id,
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

-- Adds a plan that the caller proposes, or approves without a proposal.
create or replace function greenlight.insert_plan(
    user_id uuid,
    session_id text,
    version integer,
    title text,
    document_path text,
    document_sha256 text,
    document_url text,
    status text,
    team_id uuid,
    expires_at timestamptz default null,
    message text default null,
    comment text default null,
    comments jsonb default null
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_caller text := greenlight.caller();
    v_decided boolean := status = 'approved';
    v_plan public.plan;
begin
    insert into public.plan (
        user_id, session_id, version, title, document_id, document_path, document_sha256, document_url, status,
        team_id, proposed_by, expires_at, message, decided_at, decided_by, decided_aal, decided_via, comment, comments
    )
    values (
        user_id,
        session_id,
        version,
        title,
        greenlight.lock_document(document_path),
        document_path,
        document_sha256,
        document_url,
        status,
        team_id,
        case when not v_decided then v_caller end,
        expires_at,
        message,
        case when v_decided then clock_timestamp() end,
        case when v_decided then auth.uid() end,
        case when v_decided then greenlight.claims() ->> 'aal' end,
        case when v_decided then v_caller end,
        comment,
        comments
    )
    returning * into v_plan;

    return v_plan;
end;
$$;
revoke all on function greenlight.insert_plan from public, anon, authenticated, service_role;

-- Writes a decision on a proposal.
create or replace function greenlight.write_decision(plan_id uuid, decision text, comment text, comments jsonb)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_caller text := greenlight.caller();
    v_user boolean := v_caller <> 'service_role';
    v_plan public.plan;
begin
    update public.plan as p
    set
        status = decision,
        decided_at = clock_timestamp(),
        decided_by = case when v_user then auth.uid() end,
        decided_aal = case when v_user then greenlight.claims() ->> 'aal' end,
        decided_via = v_caller,
        comment = write_decision.comment,
        comments = write_decision.comments
    where p.id = plan_id
    returning * into v_plan;

    return v_plan;
end;
$$;
revoke all on function greenlight.write_decision from public, anon, authenticated, service_role;

create or replace function greenlight.propose_plan(
    session_id text,
    version integer,
    title text,
    document_sha256 text,
    document_url text,
    expires_at timestamptz,
    user_id uuid,
    message text,
    team_id uuid
)
returns public.plan_proposal
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.named_user(user_id, active => true);
    v_title text;
    v_path text;
    v_newest public.plan;
    v_team uuid := team_id;
    v_agent public.agent;
    v_plan public.plan;
    v_refused public.plan;
begin
    perform greenlight.check_version(session_id, version);
    v_title := greenlight.check_title(v_user, session_id, version, title);
    v_path := greenlight.check_path(v_user, session_id, document_sha256, coalesce(document_url, ''));

    if message is not null and not greenlight.is_text(message) then
        perform greenlight.refuse('invalid_message', 'message is blank or longer than 4,000 characters.');
    end if;

    v_newest := greenlight.lock_newest_plan(v_user, session_id);

    -- A session without a plan has no agent.
    if v_newest.id is not null then
        v_agent := greenlight.lock_session_agent(v_user, session_id);
        v_plan := greenlight.find_plan(v_newest, version);
    end if;

    -- A replay.
    if v_plan.document_sha256 = document_sha256 then
        return (v_plan.id, version, v_plan.status, false)::public.plan_proposal;
    end if;

    if v_plan.id is not null then
        perform greenlight.refuse('plan_conflict', format('Version %s exists with another document.', version));
    end if;

    -- Or a client could use up the numbers, and leave none to the human.
    if version - 1000 > coalesce(v_newest.version, 0) and greenlight.untrusted_client() is not null then
        perform greenlight.refuse(
            'invalid_version',
            format('A client proposes at most 1,000 above version %s, the newest.', coalesce(v_newest.version, 0))
        );
    end if;

    if not (isfinite(expires_at) and expires_at > clock_timestamp()) then
        perform greenlight.refuse('invalid_expires_at', 'expires_at is not in the future, or not finite.');
    end if;

    -- A session keeps the team of its first plan. Who has left the team sends nothing more into its inbox.
    if v_newest.id is not null then
        v_team := v_newest.team_id;
    end if;

    if team_id <> v_team or (team_id is not null and v_team is null) then
        perform greenlight.refuse(
            'invalid_team_id', format('The session has %s.', coalesce('the team ' || v_team, 'no team'))
        );
    end if;

    if v_team is not null and greenlight.actor_role() <> 'service_role' and greenlight.role_in(v_team) is null then
        perform greenlight.refuse('invalid_team_id', format('The caller is not in team %s.', v_team));
    end if;

    if v_team is null and (select s.require_team from greenlight.setting as s) then
        perform greenlight.refuse('invalid_team_id', 'There is no team, and greenlight.setting.require_team is true.');
    end if;

    -- A document that a human refused cannot be proposed again unchanged. (What they sent back after it had expired, they
    -- ask for again.) Later versions are decided later, so the newest decision is the one with the highest version.
    select *
    into v_refused
    from public.plan as p
    where
        p.document_path = v_path
        and p.decided_at is not null
        and p.status <> 'withdrawn'
    order by p.version desc
    limit 1;

    if v_refused.status = 'rejected'
    or (v_refused.status = 'changes_requested' and coalesce(v_refused.decided_at < v_refused.expires_at, true)) then
        perform greenlight.refuse(
            'plan_decided',
            format(
                'Version %s has the same document and was decided: %s. %s',
                v_refused.version,
                v_refused.status,
                greenlight.words(v_refused)
            )
        );
    end if;

    if v_newest.id is not null then
        perform greenlight.refuse_closed(v_plan, v_agent, version, v_newest.version);
        perform greenlight.supersede_proposal(v_newest);
    end if;

    v_plan := greenlight.insert_plan(
        v_user, session_id, version, v_title, v_path, document_sha256, document_url, 'proposed', v_team, expires_at,
        message
    );
    return (v_plan.id, version, v_plan.status, true)::public.plan_proposal;
end;
$$;
revoke all on function greenlight.propose_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.propose_plan to authenticated, service_role;

create or replace function public.propose_plan(
    session_id text,
    version integer,
    title text,
    document_sha256 text,
    document_url text,
    expires_at timestamptz default null,
    user_id uuid default null,
    message text default null,
    team_id uuid default null
)
returns public.plan_proposal
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.propose_plan(
        session_id, version, title, document_sha256, document_url, expires_at, user_id, message, team_id
    );
end;
$$;
comment on function public.propose_plan is
'Proposes the stored document of a planning session to its user or, with a team_id, to the approvers of that team, who '
'approve it, reject it or request changes. A session keeps the team of its first plan. '
'An undecided earlier proposal is superseded. The same session, version and hash again is a replay: created is false '
'and status is its current status. message is what the planner says to the human. Only the service role names a '
'user_id.';
revoke all on function public.propose_plan from public, anon, authenticated, service_role;
grant execute on function public.propose_plan to authenticated, service_role;

create or replace function greenlight.approve_plan(
    session_id text,
    version integer,
    title text,
    document_sha256 text,
    document_url text,
    comment text,
    comments jsonb,
    user_id uuid
)
returns public.plan_approval
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_owner uuid := coalesce(user_id, auth.uid());
    v_user uuid := greenlight.require_human(v_owner, decides => true);
    v_title text;
    v_path text;
    v_newest public.plan;
    v_comments jsonb;
    v_agent public.agent;
    v_plan public.plan;
begin
    perform greenlight.check_version(session_id, version);

    -- By the caller's own plans: another user's titles are not to be guessed.
    if title is not null then
        v_title := greenlight.check_title(v_user, session_id, version, title);
    end if;

    v_path := greenlight.check_path(v_owner, session_id, document_sha256, document_url);

    perform greenlight.check_comment(comment);
    v_comments := greenlight.check_comments(comments);

    v_newest := greenlight.lock_for_decision(v_user, v_owner, session_id, version, approves => true);

    if v_newest.id is not null then
        v_agent := greenlight.lock_session_agent(v_owner, session_id);
        v_plan := greenlight.find_plan(v_newest, version);
    end if;

    -- A replay.
    if
        v_plan.document_sha256 = document_sha256
        and v_plan.decided_at is not null
        and v_plan.status in ('approved', 'superseded', 'archived')
    then
        return (v_plan.id, v_agent.id, v_agent.status, version, false)::public.plan_approval;
    end if;

    if v_plan.document_sha256 <> document_sha256 then
        perform greenlight.refuse('plan_conflict', format('Version %s exists with another document.', version));
    end if;

    if v_plan.title <> greenlight.trim_space(title) then
        perform greenlight.refuse('plan_conflict', format('Version %s was proposed with another title.', version));
    end if;

    perform greenlight.refuse_closed(v_plan, v_agent, version, v_newest.version);

    if v_plan.expires_at <= clock_timestamp() then
        perform greenlight.refuse('plan_expired', format('Version %s expired at %s.', version, v_plan.expires_at));
    end if;

    if v_plan.id is null and (title is null or document_url is null) then
        perform greenlight.check_title(v_owner, session_id, version, title);
        perform greenlight.check_path(v_owner, session_id, document_sha256, coalesce(document_url, ''));
    end if;

    -- What this version replaces: the plan that was approved before, and an undecided earlier proposal.
    update public.plan as p
    set status = 'superseded'
    where p.id = v_agent.plan_id;

    if v_newest.version < version then
        perform greenlight.supersede_proposal(v_newest);
    end if;

    if v_plan.id is null then
        v_plan := greenlight.insert_plan(
            v_owner, session_id, version, v_title, v_path, document_sha256, document_url, 'approved', v_newest.team_id,
            comment => comment, comments => v_comments
        );
    else
        perform greenlight.lock_document(v_path);
        v_plan := greenlight.write_decision(v_plan.id, 'approved', comment, v_comments);
    end if;

    if v_agent.id is null then
        insert into public.agent (user_id, team_id, session_id, plan_id, name)
        values (v_owner, v_plan.team_id, session_id, v_plan.id, left(v_plan.title, 200))
        returning * into v_agent;
    else
        update public.agent as a
        set
            plan_id = v_plan.id,
            name = left(v_plan.title, 200),
            status = 'building'
        where a.id = v_agent.id
        returning * into v_agent;
    end if;

    return (v_plan.id, v_agent.id, v_agent.status, version, true)::public.plan_approval;
end;
$$;
revoke all on function greenlight.approve_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.approve_plan to authenticated;

create or replace function public.approve_plan(
    session_id text,
    version integer,
    title text default null,
    document_sha256 text default null,
    document_url text default null,
    comment text default null,
    comments jsonb default null,
    user_id uuid default null
)
returns public.plan_approval
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.approve_plan(
        session_id, version, title, document_sha256, document_url, comment, comments, user_id
    );
end;
$$;
comment on function public.approve_plan is
'Approves a version of a planning session: the plan, its agent, the event and the build, together or not at all. For a '
'proposed version session_id, version and document_sha256 are enough; otherwise all five are needed. The same session, '
'version and hash again is a replay: the same answer, created is false, nothing is written. comment, and comments on '
'passages, are a note for the builder. An approver of the session''s team names its owner (user_id), and approves what '
'was proposed only. Humans only.';
revoke all on function public.approve_plan from public, anon, authenticated, service_role;
grant execute on function public.approve_plan to authenticated;

-- Locks the session in which a user decides, and its owner, if that is another user. Returns its newest plan.
create or replace function greenlight.lock_for_decision(
    user_id uuid, owner_id uuid, session_id text, version integer, approves boolean
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_newest public.plan;
begin
    if user_id <> owner_id then
        v_newest := greenlight.newest_plan(owner_id, session_id);
        perform greenlight.check_decider(user_id, owner_id, v_newest, version, approves);
        perform greenlight.lock_user(owner_id);
    end if;

    v_newest := greenlight.lock_newest_plan(owner_id, session_id);
    perform greenlight.check_decider(user_id, owner_id, v_newest, version, approves);

    return v_newest;
end;
$$;
revoke all on function greenlight.lock_for_decision from public, anon, authenticated, service_role;

-- Decides on a proposal of a session, which is locked already, and whose newest plan this is.
create or replace function greenlight.decide_plan(
    newest public.plan, version integer, decision text, comment text, comments jsonb
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_plan public.plan;
begin
    perform greenlight.lock_session_agent(newest.user_id, newest.session_id);
    v_plan := greenlight.find_plan(newest, version);

    if v_plan.id is null then
        perform greenlight.refuse('plan_not_found', format('There is no version %s in this session.', version));
    end if;

    -- A repeat. Other words would be lost: they are refused.
    if v_plan.status = decision then
        if
            coalesce(comment, comments::text) is not null
            and (comment, comments) is distinct from (v_plan.comment, v_plan.comments)
        then
            perform greenlight.refuse(
                'plan_decided',
                format('Version %s was decided: %s. %s', version, v_plan.status, greenlight.words(v_plan))
            );
        end if;

        return v_plan;
    end if;

    if v_plan.status <> 'proposed' then
        perform greenlight.refuse_closed(v_plan, null, version, newest.version);
    end if;

    return greenlight.write_decision(v_plan.id, decision, comment, comments);
end;
$$;
revoke all on function greenlight.decide_plan from public, anon, authenticated, service_role;

create or replace function greenlight.request_changes(
    session_id text, version integer, comment text, comments jsonb, user_id uuid
)
returns public.plan
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_owner uuid := coalesce(user_id, auth.uid());
    v_user uuid := greenlight.require_human(v_owner, decides => true);
    v_comments jsonb;
    v_newest public.plan;
begin
    perform greenlight.check_version(session_id, version);
    perform greenlight.check_comment(comment);
    v_comments := greenlight.check_comments(comments);

    if comment is null and v_comments is null then
        perform greenlight.refuse('invalid_comment', 'There is neither a comment nor a comment on a passage.');
    end if;

    v_newest := greenlight.lock_for_decision(v_user, v_owner, session_id, version, approves => false);
    return greenlight.decide_plan(v_newest, version, 'changes_requested', comment, v_comments);
end;
$$;
revoke all on function greenlight.request_changes from public, anon, authenticated, service_role;
grant execute on function greenlight.request_changes to authenticated;

create or replace function public.request_changes(
    session_id text,
    version integer,
    comment text default null,
    comments jsonb default null,
    user_id uuid default null
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.request_changes(session_id, version, comment, comments, user_id);
end;
$$;
comment on function public.request_changes is
'Sends a proposed plan back to its planner, with a comment that says what to change, comments on passages, or both. '
'Final; the planner proposes a higher version. An approver of the session''s team names its owner (user_id). Humans '
'only. The same again is a no-op; with other words it is plan_decided.';
revoke all on function public.request_changes from public, anon, authenticated, service_role;
grant execute on function public.request_changes to authenticated;

create or replace function greenlight.reject_plan(
    session_id text, version integer, comment text, comments jsonb, user_id uuid
)
returns public.plan
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_owner uuid := coalesce(user_id, auth.uid());
    v_user uuid := greenlight.require_human(v_owner, decides => true);
    v_comments jsonb;
    v_newest public.plan;
begin
    perform greenlight.check_version(session_id, version);
    perform greenlight.check_comment(comment);
    v_comments := greenlight.check_comments(comments);
    v_newest := greenlight.lock_for_decision(v_user, v_owner, session_id, version, approves => false);
    return greenlight.decide_plan(v_newest, version, 'rejected', comment, v_comments);
end;
$$;
revoke all on function greenlight.reject_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.reject_plan to authenticated;

create or replace function public.reject_plan(
    session_id text,
    version integer,
    comment text default null,
    comments jsonb default null,
    user_id uuid default null
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.reject_plan(session_id, version, comment, comments, user_id);
end;
$$;
comment on function public.reject_plan is
'Rejects a proposed plan, with a comment and comments on passages if there are any. Final. An approver of the '
'session''s team names its owner (user_id). Humans only. The same again is a no-op; with other words it is '
'plan_decided.';
revoke all on function public.reject_plan from public, anon, authenticated, service_role;
grant execute on function public.reject_plan to authenticated;

create or replace function greenlight.withdraw_plan(session_id text, version integer, user_id uuid)
returns public.plan
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.named_user(user_id, active => false);
begin
    perform greenlight.check_version(session_id, version);
    return greenlight.decide_plan(
        greenlight.lock_newest_plan(v_user, session_id), version, 'withdrawn', null, null
    );
end;
$$;
revoke all on function greenlight.withdraw_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.withdraw_plan to authenticated, service_role;

create or replace function greenlight.plan_teams()
returns setof public.plan_team
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform greenlight.check_user();

    return query
    select
        t.id,
        bool_or(t.may_decide),
        bool_or(t.may_decide and s.self_approval)
    from (
        select viewer.id, false from greenlight.viewer_teams() as viewer (id)
        union all
        select approver.id, true from greenlight.approver_teams() as approver (id)
    ) as t (id, may_decide)
    cross join greenlight.setting as s
    where t.id is not null
    group by t.id
    order by t.id;
end;
$$;
revoke all on function greenlight.plan_teams from public, anon, authenticated, service_role;
grant execute on function greenlight.plan_teams to authenticated;

create or replace function public.plan_teams()
returns setof public.plan_team
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return query
    select * from greenlight.plan_teams();
end;
$$;
comment on function public.plan_teams is
'The caller''s teams: whether they may decide on its plans, and on those that are their own. Of the user: an OAuth '
'client''s token decides nothing.';
revoke all on function public.plan_teams from public, anon, authenticated, service_role;
grant execute on function public.plan_teams to authenticated;

-- The project's own greenlight.display_name() says what these users are called.
create or replace function greenlight.display_names(user_ids uuid[])
returns setof public.display_name
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform greenlight.check_user();

    return query
    select
        person.id,
        greenlight.display_name(person.id)
    from unnest(user_ids) as person (id)
    order by person.id;
end;
$$;
revoke all on function greenlight.display_names from public, anon, authenticated, service_role;
grant execute on function greenlight.display_names to authenticated;

-- Reads as the caller: of people whom no plan or event shows them they get no name.
create or replace function public.display_names(plan_ids uuid[])
returns setof public.display_name
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return query
    select *
    from greenlight.display_names(
        array(
            select p.user_id from public.plan as p
            where p.id = any(plan_ids)

            union
            select p.decided_by from public.plan as p
            where
                p.id = any(plan_ids)
                and p.decided_by is not null

            union
            select e.actor from public.agent_event as e
            where
                e.plan_id = any(plan_ids)
                and e.actor is not null
        )
    );
end;
$$;
comment on function public.display_names is
'What the people of these plans are called: their owners, who decided, who changed their agents. name is null where '
'the project''s greenlight.display_name() gives none.';
revoke all on function public.display_names from public, anon, authenticated, service_role;
grant execute on function public.display_names to authenticated;

-- What an open page asks every few seconds: it loads again only what is answered otherwise than before. So each change
-- that a page shows has to move one of these. Of a session, its newest plan is enough: an older one changes only
-- together with it, or with the agent. Reads as the caller.
create or replace function greenlight.latest_changes(
    agent_ids uuid[],
    session_ids text[],
    user_ids uuid[],
    waiting boolean,
    decided boolean
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_user uuid := auth.uid();
    v_reads uuid[];
    v_decides uuid[];
    v_decides_own uuid[];
    v_waiting jsonb;
    v_decided jsonb;
begin
    -- It also refuses a user who no longer exists.
    if v_user is not null then
        select
            array_agg(t.team_id),
            array_agg(t.team_id) filter (where t.may_decide),
            array_agg(t.team_id) filter (where t.may_decide_own)
        into v_reads, v_decides, v_decides_own
        from greenlight.plan_teams() as t;
    end if;

    if waiting then
        select jsonb_object_agg(list.name, jsonb_build_array(list.plans, list.newest))
        into v_waiting
        from (
            select
                case
                    when p.user_id <> v_user
                        then case when p.expires_at <= now() then 'teamExpired' else 'teamWaiting' end
                    when p.expires_at <= now()
                        then 'expired'
                    when p.team_id is null or p.team_id = any(v_decides_own)
                        then 'waiting'
                    else 'others'
                end as name,
                count(*) as plans,
                max(p.created_at) as newest
            from public.plan as p
            where
                p.status = 'proposed'
                and (p.user_id = v_user or p.team_id = any(v_decides))
            group by 1
        ) as list;
    end if;

    if decided then
        select jsonb_object_agg(list.name, jsonb_build_array(list.plans, list.newest))
        into v_decided
        from (
            select
                case when p.user_id = v_user then 'decided' else 'teamDecided' end as name,
                count(*) as plans,
                max(p.decided_at) as newest
            from public.plan as p
            where
                p.status in ('approved', 'changes_requested', 'rejected', 'withdrawn')
                and (p.user_id = v_user or p.team_id = any(v_reads))
            group by 1
        ) as list;
    end if;

    return jsonb_strip_nulls(jsonb_build_object(
        'agents', (
            select
                jsonb_object_agg(
                    a.id, jsonb_build_array(a.updated_at, b.updated_at, l.updated_at, p.version, p.updated_at)
                )
            from public.agent as a
            left join lateral (
                select
                    build.id,
                    build.updated_at
                from public.build
                where
                    build.agent_id = a.id
                    and build.user_id = a.user_id
                order by build.created_at desc
                limit 1
            ) as b on true
            left join lateral (
                select max(build_log.updated_at) as updated_at
                from public.build_log
                where build_log.build_id = b.id
            ) as l on true
            left join lateral (
                select
                    plan.version,
                    plan.updated_at
                from public.plan
                where
                    plan.user_id = a.user_id
                    and plan.session_id = a.session_id
                order by plan.version desc
                limit 1
            ) as p on true
            where a.id = any(agent_ids)
        ),
        'sessions', (
            select jsonb_agg(jsonb_build_array(a.updated_at, p.version, p.updated_at) order by asked.place)
            from rows from (unnest(session_ids), unnest(user_ids)) with ordinality as asked (session_id, user_id, place)
            left join public.agent as a
                on
                    a.user_id = coalesce(asked.user_id, v_user)
                    and a.session_id = asked.session_id
            left join lateral (
                select
                    plan.version,
                    plan.updated_at
                from public.plan
                where
                    plan.user_id = coalesce(asked.user_id, v_user)
                    and plan.session_id = asked.session_id
                order by plan.version desc
                limit 1
            ) as p on true
        ),
        'lists', nullif(coalesce(v_waiting, '{}') || coalesce(v_decided, '{}'), '{}')
    ));
end;
$$;
revoke all on function greenlight.latest_changes from public, anon, authenticated, service_role;
grant execute on function greenlight.latest_changes to authenticated, service_role;

create or replace function public.latest_changes(
    agent_ids uuid[] default '{}',
    session_ids text[] default '{}',
    user_ids uuid[] default '{}',
    waiting boolean default false,
    decided boolean default false
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return greenlight.latest_changes(agent_ids, session_ids, user_ids, waiting, decided);
end;
$$;
comment on function public.latest_changes is
'When what a page shows has changed last: of these agents, of these sessions (of the caller, or of the owner in the '
'same place of user_ids), of the caller''s proposals that wait and of their decisions. Answers about what the caller '
'may read.';
revoke all on function public.latest_changes from public, anon, authenticated, service_role;
grant execute on function public.latest_changes to authenticated, service_role;

-- Beside these transitions, only a newer version, a builder's finish_build() and fail_build(), stop_build() and
-- retry_build() change an agent's status.
create or replace function greenlight.transition_agent(agent_id uuid, to_status text)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.human_or_service_role(greenlight.owner_of(agent_id));
    v_agent public.agent;
begin
    if (to_status in ('building', 'active', 'paused', 'archived', 'failed')) is not true then
        perform greenlight.refuse('invalid_status', 'to_status must be building, active, paused, failed or archived.');
    end if;

    v_agent := greenlight.lock_agent(agent_id, v_user);

    perform greenlight.refuse_deleted(v_agent);

    if v_agent.status = to_status then
        return v_agent;
    end if;

    if
        v_agent.status = 'archived'
        or not (to_status = 'archived' or (v_agent.status, to_status) in (('active', 'paused'), ('paused', 'active')))
    then
        perform greenlight.refuse(
            'illegal_transition', format('Cannot transition from %s to %s.', v_agent.status, to_status)
        );
    end if;

    -- The plan it is built from is archived with it; an undecided proposal can no longer be approved.
    if to_status = 'archived' then
        update public.plan as p
        set status = 'archived'
        where p.id = v_agent.plan_id;

        perform greenlight.supersede_proposal(greenlight.newest_plan(v_agent.user_id, v_agent.session_id));
    end if;

    update public.agent as a
    set status = to_status
    where a.id = v_agent.id
    returning * into v_agent;

    return v_agent;
end;
$$;
revoke all on function greenlight.transition_agent from public, anon, authenticated, service_role;
grant execute on function greenlight.transition_agent to authenticated, service_role;

create or replace function public.transition_agent(agent_id uuid, to_status text)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.transition_agent(agent_id, to_status);
end;
$$;
comment on function public.transition_agent is
'Pauses, resumes or archives an agent; archived is final. If it already has the status, nothing happens. For the '
'owner and the approvers of its team (humans only), and the service role.';
revoke all on function public.transition_agent from public, anon, authenticated, service_role;
grant execute on function public.transition_agent to authenticated, service_role;

-- Deletes (deleted) or restores (not deleted) an agent and every plan of its session, together. Only the
-- newest 1,000 plans are marked; plan's policy hides the others by their agent.
create or replace function greenlight.set_deleted(agent_id uuid, deleted boolean)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.require_human(greenlight.owner_of(agent_id), decides => false);
    v_agent public.agent := greenlight.lock_agent(agent_id, v_user);
    v_deleted_at timestamptz := case when deleted then clock_timestamp() end;
begin
    if (v_agent.deleted_at is not null) = deleted then
        return v_agent;
    end if;

    update public.plan as p
    set deleted_at = v_deleted_at
    where p.id in (
        select newest.id
        from public.plan as newest
        where
            newest.user_id = v_agent.user_id
            and newest.session_id = v_agent.session_id
        order by newest.version desc
        limit 1000
    );

    update public.agent as a
    set deleted_at = v_deleted_at
    where a.id = v_agent.id
    returning * into v_agent;

    return v_agent;
end;
$$;
revoke all on function greenlight.set_deleted from public, anon, authenticated, service_role;
grant execute on function greenlight.set_deleted to authenticated;

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
comment on function public.delete_agent is
'Deletes an agent of the caller, or of a team in which they decide, and every plan of its session, softly: '
'restore_agent() brings them back until the retention time is over. Humans only. Repeats are no-ops.';
revoke all on function public.delete_agent from public, anon, authenticated, service_role;
grant execute on function public.delete_agent to authenticated;

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
comment on function public.restore_agent is
'Brings back a deleted agent of the caller, or of a team in which they decide, and every plan of its session. An agent '
'that was building is queued for building again. Humans only. Repeats are no-ops.';
revoke all on function public.restore_agent from public, anon, authenticated, service_role;
grant execute on function public.restore_agent to authenticated;

create or replace function greenlight.deleted_agents()
returns setof public.agent
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform greenlight.check_user();

    return query
    select *
    from public.agent as a
    where
        (a.user_id = (select auth.uid()) or a.team_id = any(array(select greenlight.approver_teams())))
        and a.deleted_at is not null
    order by a.deleted_at desc, a.id;
end;
$$;
revoke all on function greenlight.deleted_agents from public, anon, authenticated, service_role;
grant execute on function greenlight.deleted_agents to authenticated;

create or replace function public.deleted_agents()
returns setof public.agent
language sql
stable
security invoker
set search_path = ''
as $$
    select * from greenlight.deleted_agents();
$$;
comment on function public.deleted_agents is
'The deleted agents of the caller, and of the teams in which they decide, newest first: what restore_agent() can still '
'bring back.';
revoke all on function public.deleted_agents from public, anon, authenticated, service_role;
grant execute on function public.deleted_agents to authenticated;

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
set enable_bitmapscan = off
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
            where b.id = (
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
            returning * into v_build;

            exit when found;
        end loop;

        exit when v_build.id is null;

        -- Not joined above, where a plan of the time when there were few might begin at the plan.
        select
            v_build.id,
            v_build.attempt,
            v_build.agent_id,
            v_build.plan_id,
            v_build.user_id,
            p.session_id,
            p.version,
            p.title,
            p.document_path,
            p.document_sha256,
            v_build.run_after,
            v_build.max_attempts,
            p.comment,
            p.comments,
            p.team_id
        into v_claim
        from public.plan as p
        where p.id = v_build.plan_id;

        v_last := setval('greenlight.last_owner', uuid_hash_extended(v_claim.user_id, 0));
        return next v_claim;
    end loop;
end;
$$;
revoke all on function greenlight.claim_builds from public, anon, authenticated, service_role;
grant execute on function greenlight.claim_builds to service_role;

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

    insert into public.build_log (build_id, attempt, user_id, team_id, content)
    values (build.id, build.attempt, build.user_id, build.team_id, v_content)
    on conflict on constraint build_log_pkey do update
    set content = excluded.content;
end;
$$;
revoke all on function greenlight.write_log from public, anon, authenticated, service_role;

create or replace function greenlight.retry_build(agent_id uuid)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.human_or_service_role(greenlight.owner_of(agent_id));
    v_agent public.agent := greenlight.lock_agent(agent_id, v_user);
begin
    perform greenlight.refuse_deleted(v_agent);

    if v_agent.status = 'building' then
        return v_agent;
    end if;

    if v_agent.status <> 'failed' then
        perform greenlight.refuse(
            'illegal_transition', format('The agent is %s; only a failed agent can be built again.', v_agent.status)
        );
    end if;

    update public.agent as a
    set status = 'building'
    where a.id = v_agent.id
    returning * into v_agent;

    return v_agent;
end;
$$;
revoke all on function greenlight.retry_build from public, anon, authenticated, service_role;
grant execute on function greenlight.retry_build to authenticated, service_role;

create or replace function public.retry_build(agent_id uuid)
returns public.agent
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.retry_build(agent_id);
end;
$$;
comment on function public.retry_build is
'Builds a failed agent again, from its current plan. If it is building, nothing happens. For the owner and the '
'approvers of its team (humans only), and the service role.';
revoke all on function public.retry_build from public, anon, authenticated, service_role;
grant execute on function public.retry_build to authenticated, service_role;

-- The one case in which a failed agent's build is cancelled. keep_build() finds it closed already.
create or replace function greenlight.stop_build(agent_id uuid)
returns public.agent
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.human_or_service_role(greenlight.owner_of(agent_id));
    v_agent public.agent := greenlight.lock_agent(agent_id, v_user);
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
        message = case
            when v_user is null then 'Stopped by the service.'
            when v_user = v_agent.user_id then 'Stopped by the owner.'
            else 'Stopped by an approver.'
        end,
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
'agent is failed. Of a failed agent nothing happens. For the owner and the approvers of its team (humans only), and '
'the service role.';
revoke all on function public.stop_build from public, anon, authenticated, service_role;
grant execute on function public.stop_build to authenticated, service_role;

-- Tries one of the project's own functions that say who is in which team: as some of its users, and as one that does
-- not exist, who must be in none. Returns the milliseconds of the slowest user's answer (the quickest of three: a busy
-- machine makes no function slow), whether that stranger is in a team, and the error, if there is one.
create or replace function greenlight.probe_teams(name text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_claims text := current_setting('request.jwt.claims', true);
    v_user uuid;
    v_begin timestamptz;
    v_quickest numeric;
    v_slowest numeric := 0;
    v_count bigint;
    v_stranger boolean := false;
    v_error text;
begin
    for v_user in
        select null

        union all
        (
            select u.id
            from auth.users as u
            order by u.id
            limit 5
        )
    loop
        perform set_config(
            'request.jwt.claims',
            jsonb_build_object('role', 'authenticated', 'sub', coalesce(v_user, gen_random_uuid()))::text,
            true
        );
        v_quickest := null;

        for v_try in 1..3 loop
            v_begin := clock_timestamp();

            begin
                execute format('select count(*) from greenlight.%I()', name) into v_count;
                v_stranger := v_stranger or (v_user is null and v_count > 0);
            exception
                when others then
                    v_error := sqlerrm;
            end;

            v_quickest := least(v_quickest, extract(epoch from clock_timestamp() - v_begin) * 1000);
        end loop;

        v_slowest := greatest(v_slowest, v_quickest);
    end loop;

    perform set_config('request.jwt.claims', coalesce(v_claims, ''), true);

    return jsonb_build_object(
        'milliseconds', round(v_slowest, 1), 'stranger_is_in', v_stranger, 'error', v_error
    );
end;
$$;
revoke all on function greenlight.probe_teams from public, anon, authenticated, service_role;

-- What `greenlight doctor` compares with what this version installs. `objects` has everything of ours, and for most of
-- it the statement that makes it; `facts` is the rest of what it looks at.
create or replace function greenlight.installation()
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    with
    our_table as (
        select
            c.oid,
            c.oid::regclass::text as name,
            c.relkind,
            c.relowner,
            c.relacl,
            c.relrowsecurity
        from pg_catalog.pg_class as c
        where
            c.relkind in ('r', 'p', 'v')
            and (
                c.relnamespace = 'greenlight'::regnamespace
                or (
                    c.relnamespace = 'public'::regnamespace
                    and c.relname in ('plan', 'agent', 'agent_event', 'build', 'build_log')
                )
            )
    ),

    -- In greenlight, for the project to replace, and to grant.
    their_function (name) as (values ('viewer_teams'), ('approver_teams'), ('approver_emails'), ('display_name')),

    -- Those in public have a namesake in greenlight, which they call.
    our_function as (
        select
            p.*,
            p.oid::regprocedure::text as name
        from pg_catalog.pg_proc as p
        where
            (
                p.pronamespace = 'greenlight'::regnamespace
                and p.proname not in (select t.name from their_function as t)
            )
            or (
                p.pronamespace = 'public'::regnamespace
                and p.proname in (
                    select inner_function.proname
                    from pg_catalog.pg_proc as inner_function
                    where inner_function.pronamespace = 'greenlight'::regnamespace
                )
            )
    ),

    privilege as (
        select
            'table' as kind,
            t.name,
            coalesce(t.relacl, acldefault('r', t.relowner)) || coalesce(
                (
                    select array_agg(column_acl)
                    from pg_catalog.pg_attribute as a, unnest(a.attacl) as column_acl
                    where a.attrelid = t.oid
                ),
                '{}'
            ) as acl
        from our_table as t

        union all
        select
            'sequence',
            c.oid::regclass::text,
            coalesce(c.relacl, acldefault('s', c.relowner))
        from our_table as t
        inner join pg_catalog.pg_depend as d on t.oid = d.refobjid and d.classid = 'pg_class'::regclass
        inner join pg_catalog.pg_class as c on d.objid = c.oid and c.relkind = 'S'

        union all
        select
            'function',
            f.name,
            coalesce(f.proacl, acldefault('f', f.proowner))
        from our_function as f

        union all
        select
            'schema',
            n.nspname,
            coalesce(n.nspacl, acldefault('n', n.nspowner))
        from pg_catalog.pg_namespace as n
        where n.nspname = 'greenlight'
    ),

    granted as (
        select
            p.kind,
            p.name,
            g.grantee,
            string_agg(distinct lower(g.privilege_type), ', ' order by lower(g.privilege_type)) as privileges
        from privilege as p
        cross join aclexplode(p.acl) as entry
        cross join lateral (
            select
                case when entry.grantee = 0 then 'public' else entry.grantee::regrole::text end as grantee,
                entry.privilege_type
        ) as g
        where g.grantee in ('public', 'anon', 'authenticated', 'service_role')
        group by p.kind, p.name, g.grantee
    ),

    object (name, definition) as (
        select
            'column ' || t.name || '.' || a.attname,
            concat_ws(
                ' ',
                format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then 'not null' end,
                'default ' || pg_get_expr(d.adbin, d.adrelid),
                nullif(a.attidentity, '')
            )
        from our_table as t
        inner join pg_catalog.pg_attribute as a on t.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum

        union all
        select
            'row level security of ' || t.name,
            format('alter table %s enable row level security', t.name)
        from our_table as t
        where t.relrowsecurity

        union all
        select
            'constraint ' || c.conname || ' on ' || t.name,
            format('alter table %s add constraint %I %s', t.name, c.conname, pg_get_constraintdef(c.oid))
        from our_table as t
        inner join pg_catalog.pg_constraint as c on t.oid = c.conrelid and c.contype in ('c', 'f', 'p', 'u')

        union all
        select
            'index ' || i.indexrelid::regclass,
            pg_get_indexdef(i.indexrelid) || case when i.indisvalid then '' else ' (invalid)' end
        from our_table as t
        inner join pg_catalog.pg_index as i on t.oid = i.indrelid
        where not exists (select from pg_catalog.pg_constraint as c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))

        union all
        select
            'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass,
            replace(pg_get_triggerdef(t.oid), 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER') || case t.tgenabled
                when 'O' then ''
                when 'A' then format('; alter table %s enable always trigger %I', t.tgrelid::regclass, t.tgname)
                when 'R' then format('; alter table %s enable replica trigger %I', t.tgrelid::regclass, t.tgname)
                else ' (disabled)'
            end
        from pg_catalog.pg_trigger as t
        inner join pg_catalog.pg_proc as f on t.tgfoid = f.oid and f.pronamespace = 'greenlight'::regnamespace
        where not t.tgisinternal

        union all
        select
            format('policy %I on %s', p.polname, p.polrelid::regclass),
            concat_ws(
                ' ',
                format('drop policy if exists %I on %s; create policy %1$I on %2$s as', p.polname, p.polrelid::regclass),
                case when p.polpermissive then 'permissive' else 'restrictive' end,
                'for',
                case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                'to',
                (
                    select string_agg(case when r = 0 then 'public' else r::regrole::text end, ', ' order by r::regrole::text)
                    from unnest(p.polroles) as r
                ),
                'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
            )
        from pg_catalog.pg_policy as p
        where
            p.polrelid in (select t.oid from our_table as t)
            or (p.polrelid = 'storage.objects'::regclass and p.polname like 'greenlight\_%')

        union all
        select
            'function ' || f.name,
            md5(
                concat_ws(
                    ' ',
                    pg_get_function_arguments(f.oid),
                    pg_get_function_result(f.oid),
                    f.provolatile,
                    f.prosecdef,
                    f.proconfig,
                    replace(f.prosrc, E'\r', '')
                )
            )
        from our_function as f

        union all
        select
            'grants on ' || p.kind || ' ' || p.name,
            format('revoke all on %s %s from public, anon, authenticated, service_role', p.kind, p.name) || coalesce(
                (
                    select string_agg(
                        format('; grant %s on %s %s to %s', g.privileges, g.kind, g.name, g.grantee), '' order by g.grantee
                    )
                    from granted as g
                    where
                        g.kind = p.kind
                        and g.name = p.name
                ),
                ''
            )
        from privilege as p

        union all
        select
            'bucket plans',
            format(
                'insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) '
                'values (''plans'', ''plans'', %L, 1048576, ''{text/markdown}'') '
                'on conflict (id) do update set public = excluded.public',
                b.public
            )
        from storage.buckets as b
        where b.id = 'plans'
    )

    select jsonb_build_object(
        'objects',
        (select jsonb_object_agg(o.name, o.definition) from object as o),
        'facts',
        jsonb_build_object(
            'bucket',
            (select to_jsonb(b) from storage.buckets as b where b.id = 'plans'),
            'settings',
            (select to_jsonb(s) - 'only_row' from greenlight.setting as s),
            'sessions_name_the_client',
            exists (
                select
                from pg_catalog.pg_attribute as a
                where
                    a.attrelid = to_regclass('auth.sessions')
                    and a.attname = 'oauth_client_id'
            ),
            'subscribers',
            (
                select
                    coalesce(
                        jsonb_agg(
                            jsonb_build_object('name', s.name, 'late', outbox.late, 'failed', outbox.failed)
                            order by s.name
                        ),
                        '[]'
                    )
                from greenlight.subscriber as s
                cross join lateral (
                    select
                        count(*) filter (
                            where
                            n.status <> 'failed'
                            and n.attempt < 12
                            and n.created_at < now() - interval '1 hour'
                        ) as late,
                        count(*) filter (where n.status = 'failed' or n.attempt = 12) as failed
                    from greenlight.notification as n
                    where n.subscriber_id = s.id
                ) as outbox
            ),
            'teams',
            (
                select
                    jsonb_object_agg(
                        t.name,
                        case when p.oid is not null then greenlight.probe_teams(t.name) || jsonb_build_object(
                            'replaced', p.prosrc <> 'begin return; end;',
                            'volatile', p.provolatile = 'v',
                            'definer', p.prosecdef,
                            'search_path', exists (
                                select from unnest(p.proconfig) as setting
                                where setting like 'search\_path=%'
                            )
                        ) end
                    )
                from their_function as t
                left join pg_catalog.pg_proc as p
                    on t.name = p.proname and p.pronamespace = 'greenlight'::regnamespace and p.pronargs = 0
                where t.name in ('viewer_teams', 'approver_teams')
            ),
            -- A Custom Access Token Hook: Supabase Auth may execute it, and it turns one jsonb into another.
            'hooks',
            (
                select coalesce(jsonb_agg(p.oid::regprocedure::text), '[]')
                from pg_catalog.pg_proc as p
                where
                    p.pronargs = 1
                    and p.proargtypes[0] = 'jsonb'::regtype
                    and p.prorettype = 'jsonb'::regtype
                    and exists (
                        select
                        from aclexplode(p.proacl) as entry
                        where entry.grantee = to_regrole('supabase_auth_admin')
                    )
            )
        )
    );
$$;
revoke all on function greenlight.installation from public, anon, authenticated, service_role;
grant execute on function greenlight.installation to service_role;

-- By hand, after the functions: triggers that call them.

create or replace trigger keep_plan
before update on public.plan
for each row
when (
    (
        old.id,
        old.user_id,
        old.team_id,
        old.session_id,
        old.version,
        old.title,
        old.document_id,
        old.document_path,
        old.document_sha256,
        old.document_url,
        old.proposed_by,
        old.expires_at,
        old.message,
        old.created_at
    ) is distinct from (
        new.id,
        new.user_id,
        new.team_id,
        new.session_id,
        new.version,
        new.title,
        new.document_id,
        new.document_path,
        new.document_sha256,
        new.document_url,
        new.proposed_by,
        new.expires_at,
        new.message,
        new.created_at
    )
)
execute function greenlight.refuse_rewrite();

create or replace trigger keep_decision
before update on public.plan
for each row
when (
    (
        old.status <> 'proposed'
        and (
            (old.decided_at, old.decided_by, old.decided_aal, old.decided_via, old.comment, old.comments)
            is distinct from
            (new.decided_at, new.decided_by, new.decided_aal, new.decided_via, new.comment, new.comments)
            or (
                old.status <> new.status
                and not (old.status = 'approved' and new.status in ('superseded', 'archived'))
            )
        )
    )
    or (old.status = 'proposed' and new.status = 'superseded' and new.decided_at is not null)
)
execute function greenlight.refuse_rewrite();

create trigger keep_team
before insert or update of team_id, plan_id on public.agent
for each row
execute function greenlight.keep_team();

-- The owner, and who is in the team. `(select …)` makes Postgres ask once a statement, and of the owner's own rows not
-- at all. The cast makes it an array.
--
-- `case`, because Postgres would look for the rows of an `or` in two indexes and sort them, and so read all rows of an
-- owner who asks for their newest twenty. The price: a request that names neither user_id, team_id, session_id nor an
-- id reads the whole table.
alter policy select_own on public.agent
using (
    deleted_at is null
    and case
        when user_id = (select auth.uid())
            then true
        else team_id = any((select greenlight.readable_teams())::uuid[])
    end
);

alter policy select_own on public.plan
using (
    deleted_at is null
    and case
        when user_id = (select auth.uid())
            then (
                select own_agent.deleted_at
                from greenlight.own_agent
                where
                    own_agent.user_id = plan.user_id
                    and own_agent.session_id = plan.session_id
            ) is null
        else
            team_id = any((select greenlight.readable_teams())::uuid[])
            and not greenlight.is_session_deleted(user_id, session_id)
    end
);

-- Of these a list names the agent, and an agent has few. So here `or` is the better one, in any order and by any
-- filter.
alter policy select_own on public.agent_event
using (
    (user_id = (select auth.uid()) or team_id = any((select greenlight.readable_teams())::uuid[]))
    and case
        when user_id = (select auth.uid())
            then (
                select own_agent.deleted_at
                from greenlight.own_agent
                where own_agent.id = agent_event.agent_id
            ) is null
        else not greenlight.is_deleted(agent_id)
    end
);

alter policy select_own on public.build
using (
    (user_id = (select auth.uid()) or team_id = any((select greenlight.readable_teams())::uuid[]))
    and case
        when user_id = (select auth.uid())
            then (
                select own_agent.deleted_at
                from greenlight.own_agent
                where own_agent.id = build.agent_id
            ) is null
        else not greenlight.is_deleted(agent_id)
    end
);

-- Visible while its build is: build's own policy applies to the inner select, which finds it by its key.
alter policy select_own on public.build_log
using (
    (user_id = (select auth.uid()) or team_id = any((select greenlight.readable_teams())::uuid[]))
    and (
        select build.id
        from public.build
        where build.id = build_log.build_id
    ) is not null
);

notify pgrst, 'reload schema';
