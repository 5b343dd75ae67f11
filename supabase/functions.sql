-- Every function in its current form: read and edit them here. `make migration` writes what differs from the migrations
-- into a new one; a test checks that applying this file to a freshly migrated database changes nothing: bodies,
-- attributes, grants.
--
-- Call path: a thin function in public, which runs as its caller and is what the Data API shows, calls the function
-- of the same name in greenlight, which runs as its owner and does the work. Identity comes from the token, never
-- from a parameter; a user_id parameter is checked against it.
--
-- Locks are taken in this order: user, session, agent, plan, build. So no two calls can deadlock, nor a call with the
-- deletion of a user, which begins at the user's row too. The user is the owner of what the call is about: the row of
-- an approver is not locked, because one call's second user could be another call's first. The session lock is for
-- calls that add, decide on or remove a plan, the lock of the agent's row for calls that depend on the agent or change
-- it. There are two exceptions. claim_builds() begins at the build, and never waits for a lock. And the share lock on
-- the plan that a foreign key takes, of an event or a build, may come last: it waits for deletes only, which lock the
-- user or the agent first.
--
-- Functions that a click calls are plpgsql even if they are one statement: before Postgres 18, a function in SQL that
-- fixes its search_path is planned again at each call. Variables begin with v_.
--
-- By default every role may execute a new function, and older projects grant it to the API roles by name as well. So
-- below each function all of it is revoked, then granted to the roles that need it. Each name has one signature, so
-- that the Data API can tell which function a call means.

-- Part 1: errors ---------------------------------------------------------------------------------------------

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

-- Part 2: who is calling -------------------------------------------------------------------------------------

-- The claims of the caller's token. Null without the API.
create or replace function greenlight.claims()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb;
end;
$$;
revoke all on function greenlight.claims from public, anon, authenticated, service_role;

-- The API role of the caller; in a session without the API, the role that logged in.
create or replace function greenlight.actor_role()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(nullif(current_setting('role', true), 'none'), auth.role(), session_user::text);
end;
$$;
revoke all on function greenlight.actor_role from public, anon, authenticated, service_role;

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

-- Teams are the project's own. Its functions greenlight.viewer_teams() and greenlight.approver_teams() say in which the
-- caller is: a migration made them once, empty, and nothing writes them again.

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

-- Part 3: arguments ------------------------------------------------------------------------------------------
-- Each raises on the first invalid argument. Null is invalid unless a comment says otherwise.

-- A text without the white space around it: the Unicode property White_Space, written out because Postgres' own
-- classes depend on the locale.
create or replace function greenlight.trim_space(value text)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return btrim(
        value,
        U&'\0009\000A\000B\000C\000D\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000'
    );
end;
$$;
revoke all on function greenlight.trim_space from public, anon, authenticated, service_role;

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

create or replace function greenlight.check_version(session_id text, version integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if (session_id ~ '^[A-Za-z0-9_-]+$' and octet_length(session_id) <= 128) is not true then
        perform greenlight.refuse('invalid_session_id', 'session_id does not match ^[A-Za-z0-9_-]{1,128}$.');
    end if;

    if (version >= 1) is not true then
        perform greenlight.refuse('invalid_version', 'version is not a whole number from 1.');
    end if;
end;
$$;
revoke all on function greenlight.check_version from public, anon, authenticated, service_role;

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

-- A text as it is stored: as given, 1 to 4,000 code points, not only white space.
create or replace function greenlight.is_text(value text)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return greenlight.trim_space(value) <> '' and char_length(value) <= 4000;
end;
$$;
revoke all on function greenlight.is_text from public, anon, authenticated, service_role;

-- Null means that there is none.
create or replace function greenlight.check_comment(comment text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if comment is not null and not greenlight.is_text(comment) then
        perform greenlight.refuse('invalid_comment', 'comment is blank or longer than 4,000 characters.');
    end if;
end;
$$;
revoke all on function greenlight.check_comment from public, anon, authenticated, service_role;

-- Says what is wrong with comments on passages: of the first wrong one, by its index. Returns null if nothing is.
create or replace function greenlight.fault_of_comments(comments jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    v_comment jsonb;
    v_start numeric;
    v_end numeric;
    v_index integer := 0;
begin
    if jsonb_typeof(comments) <> 'array' or comments = '[]' then
        return 'comments is not an array of comments.';
    end if;

    for v_comment in
        select element from jsonb_array_elements(comments) as element
    loop
        if v_index = 200 then
            return 'comments[200] is one too many: at most 200.';
        end if;

        if
            jsonb_typeof(v_comment) <> 'object'
            or v_comment - array['start', 'end', 'exact', 'body'] <> '{}'
            or (
                jsonb_typeof(v_comment -> 'start'),
                jsonb_typeof(v_comment -> 'end'),
                jsonb_typeof(v_comment -> 'exact'),
                jsonb_typeof(v_comment -> 'body')
            ) is distinct from ('number', 'number', 'string', 'string')
        then
            return format('comments[%s] is not an object of the numbers start and end and the texts exact and body.', v_index);
        end if;

        v_start := (v_comment -> 'start')::numeric;
        v_end := (v_comment -> 'end')::numeric;

        if not (v_start >= 0 and v_start < v_end and v_end <= 1048576 and v_start % 1 = 0 and v_end % 1 = 0) then
            return format('comments[%s]: start and end are not whole numbers, 0 <= start < end <= 1,048,576.', v_index);
        end if;

        if char_length(v_comment ->> 'exact') <> v_end - v_start or v_end - v_start > 4000 then
            return format('comments[%s]: exact has not end - start characters, or more than 4,000.', v_index);
        end if;

        if not greenlight.is_text(v_comment ->> 'body') then
            return format('comments[%s]: body is blank or longer than 4,000 characters.', v_index);
        end if;

        v_index := v_index + 1;
    end loop;

    if octet_length(comments::text) > 65536 then
        return 'comments is longer than 65,536 bytes.';
    end if;

    return null;
end;
$$;
revoke all on function greenlight.fault_of_comments from public, anon, authenticated, service_role;

-- Returns comments on passages as they are stored. Null, JSON null and an empty array mean that there is none.
create or replace function greenlight.check_comments(comments jsonb)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_fault text;
begin
    if comments is null or comments in ('[]', 'null') then
        return null;
    end if;

    v_fault := greenlight.fault_of_comments(comments);

    if v_fault is not null then
        perform greenlight.refuse('invalid_comments', v_fault);
    end if;

    return comments;
end;
$$;
revoke all on function greenlight.check_comments from public, anon, authenticated, service_role;

-- Returns the lease as an interval.
create or replace function greenlight.check_lease(lease_seconds integer)
returns interval
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if (lease_seconds between 5 and 3600) is not true then
        perform greenlight.refuse('invalid_lease_seconds', 'lease_seconds is not from 5 to 3600.');
    end if;

    return make_interval(secs => lease_seconds);
end;
$$;
revoke all on function greenlight.check_lease from public, anon, authenticated, service_role;

-- Part 4: locks ----------------------------------------------------------------------------------------------

-- The key of a session's advisory lock, which works even before the session has a row.
create or replace function greenlight.session_key(user_id uuid, session_id text)
returns bigint
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return hashtextextended('greenlight/' || user_id::text || '/' || session_id, 0);
end;
$$;
revoke all on function greenlight.session_key from public, anon, authenticated, service_role;

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

-- Locks a build, and before it its user and its agent: rows are locked in the order of the locking clauses.
create or replace function greenlight.lock_build(build_id uuid)
returns public.build
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_build public.build;
begin
    select b.*
    into v_build
    from public.build as b
    inner join public.agent as a on b.agent_id = a.id
    inner join auth.users as u on b.user_id = u.id
    where b.id = lock_build.build_id
    for key share of u
    for no key update of a
    for no key update of b;

    return v_build;
end;
$$;
revoke all on function greenlight.lock_build from public, anon, authenticated, service_role;

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

-- Part 5: triggers -------------------------------------------------------------------------------------------

-- updated_at increases with every update, even within a transaction or when the clock goes back.
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
revoke all on function greenlight.touch from public, anon, authenticated, service_role;

create or replace function greenlight.refuse_rewrite()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    raise exception 'rows of % are final: contents and decisions cannot be changed', tg_table_name
        using errcode = 'insufficient_privilege';
end;
$$;
revoke all on function greenlight.refuse_rewrite from public, anon, authenticated, service_role;

-- greenlight.setting has one row from the push on. The row that a restore of a dump inserts (as a replica) replaces it.
create or replace function greenlight.keep_setting()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if tg_op = 'INSERT' then
        delete from greenlight.setting;

        -- The bucket is the other row that migrations insert and a dump has, further down. storage.buckets is not ours,
        -- so no trigger there would run. An empty bucket of a project without plans can go.
        delete from storage.buckets as b
        where
            b.id = 'plans'
            and not exists (select from storage.objects as o where o.bucket_id = b.id)
            and not exists (select from public.plan);
        return new;
    end if;

    raise exception 'greenlight.setting has exactly one row: update it'
        using errcode = 'insufficient_privilege';
end;
$$;
revoke all on function greenlight.keep_setting from public, anon, authenticated, service_role;

-- propose_plan() and approve_plan() make rows of plan and agent at the time of their transaction. A row that brings
-- another time comes from a dump; with triggers on, it would be logged and built a second time.
create or replace function greenlight.refuse_restore()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    raise exception 'Restore rows of % with triggers off: set session_replication_role = replica;', tg_table_name
        using
            errcode = 'insufficient_privilege',
            detail = 'With triggers on, a restored row would be written into the audit log a second time.',
            hint = 'Begin the restore with that statement, in the same session. The dump of "supabase db dump '
            '--data-only" begins with it, that of "pg_dump --data-only" does not.';
end;
$$;
revoke all on function greenlight.refuse_restore from public, anon, authenticated, service_role;

-- An event can only be deleted with its agent, whose row is gone by then.
create or replace function greenlight.keep_log()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if exists (select from public.agent where id = old.agent_id) then
        raise exception 'events cannot be deleted while their agent exists'
            using errcode = 'insufficient_privilege';
    end if;

    return old;
end;
$$;
revoke all on function greenlight.keep_log from public, anon, authenticated, service_role;

-- A stored document is never overwritten, moved, renamed or archived, and nothing is moved in. Policies cannot promise
-- that: Storage asks them when an upload begins, and writes the row when it ends, as its own role. It answers this
-- error as it answers an upload of what is already there, keeps the old bytes and removes the new ones.
--
-- to_jsonb() because older versions of Storage lack some of the columns. A delete marker is no document.
create or replace function greenlight.keep_document()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_old constant jsonb := to_jsonb(old);
    v_new constant jsonb := to_jsonb(new);
    v_column text;
begin
    if v_old ->> 'is_delete_marker' = 'true' then
        return new;
    end if;

    foreach v_column in array array['id', 'bucket_id', 'name', 'version', 'archived_at', 'is_delete_marker'] loop
        if v_new -> v_column is distinct from v_old -> v_column then
            raise exception 'documents in the bucket plans are final: % cannot be changed', v_column
                using errcode = 'unique_violation';
        end if;
    end loop;

    return new;
end;
$$;
revoke all on function greenlight.keep_document from public, anon, authenticated, service_role;

-- Storage compares the length that a request names with the bucket's limit, and has none for a body in chunks. But it
-- writes the size that it counted. This runs as its owner, because the role of Storage has no access to this schema.
create or replace function greenlight.limit_document()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if greenlight.is_too_large(new.metadata) then
        raise exception 'a document has at most 1,048,576 bytes'
            using errcode = 'insufficient_privilege';
    end if;

    return new;
end;
$$;
revoke all on function greenlight.limit_document from public, anon, authenticated, service_role;

-- In a versioned bucket a delete hides an object and keeps its row, so that plan_document_id_fkey would protect
-- nothing. And such a bucket never becomes a usual one again.
create or replace function greenlight.keep_bucket()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_old text := to_jsonb(old) ->> 'versioning_status';
begin
    if to_jsonb(new) ->> 'versioning_status' <> 'DISABLED' and coalesce(v_old, 'DISABLED') = 'DISABLED' then
        raise exception 'the bucket plans cannot be versioned: its documents are never overwritten'
            using errcode = 'insufficient_privilege';
    end if;

    return new;
end;
$$;
revoke all on function greenlight.keep_bucket from public, anon, authenticated, service_role;

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

-- Part 6: plans ----------------------------------------------------------------------------------------------

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

-- What the human wrote with a decision, for the details of a refusal.
create or replace function greenlight.words(plan public.plan)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case
        when plan.comment is not null then 'Comment: ' || plan.comment
        when plan.comments is not null then format('Comments on %s passages.', jsonb_array_length(plan.comments))
        else 'There is no comment.'
    end;
end;
$$;
revoke all on function greenlight.words from public, anon, authenticated, service_role;

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

create or replace function public.withdraw_plan(session_id text, version integer, user_id uuid default null)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.withdraw_plan(session_id, version, user_id);
end;
$$;
comment on function public.withdraw_plan is
'Withdraws a proposed plan, so that it can no longer be approved. Final. Repeats are no-ops. Only the service role '
'names a user_id.';
revoke all on function public.withdraw_plan from public, anon, authenticated, service_role;
grant execute on function public.withdraw_plan to authenticated, service_role;

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

-- Part 7: agents ---------------------------------------------------------------------------------------------

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

-- Part 8: builds, for the service role -----------------------------------------------------------------------
-- A claim leases a build until run_after. attempt is the fencing token: only the attempt of the newest claim can renew,
-- finish or fail the build.

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

-- Refuses an attempt that cannot renew, finish or fail this build.
create or replace function greenlight.refuse_attempt(build public.build, attempt integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if build.id is null then
        perform greenlight.refuse('build_not_found', 'There is no such build.');
    end if;

    perform greenlight.refuse('build_lost', case
        when (attempt >= 1) is not true then 'attempt is not the number of a claim, which is 1 or more.'
        when build.status = 'cancelled' then 'The build was cancelled. ' || coalesce(build.message, '')
        when attempt > build.attempt then format('Attempt %s has not been claimed.', attempt)
        when attempt < build.attempt then format('Attempt %s is over: attempt %s was claimed.', attempt, build.attempt)
        else format('Attempt %s has ended: the build is %s.', attempt, build.status)
    end);
end;
$$;
revoke all on function greenlight.refuse_attempt from public, anon, authenticated, service_role;

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

-- Part 9: notifications, for the service role ----------------------------------------------------------------
-- An outbox. notify() writes a row for each subscriber in the transaction of what happened; claims, which never wait
-- for a lock, lease them as builds are leased; what was delivered is deleted. Nothing here locks two rows of the outbox
-- and waits, so it deadlocks neither with itself nor with the deletion of a user.

-- Writes an event of a plan for this subscriber, or for all if it is null; not if the plan is gone. The caller has
-- locked the user. data is the plan as it is now; message is the planner's, or the builder's if it is of the agent.
-- (to_jsonb() for columns that a later migration adds.)
create or replace function greenlight.write_notification(
    subscriber_id bigint, event_id uuid, kind text, occurred_at timestamptz, plan_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    insert into greenlight.notification (subscriber_id, event_id, kind, occurred_at, user_id, data, run_after)
    select
        s.id,
        write_notification.event_id,
        write_notification.kind,
        write_notification.occurred_at,
        p.user_id,
        jsonb_build_object(
            'plan_id', p.id,
            'session_id', p.session_id,
            'version', p.version,
            'title', p.title,
            'status', p.status,
            'team_id', later.columns -> 'team_id',
            'proposed_by', p.proposed_by,
            'decided_by', later.columns -> 'decided_by',
            'comment', p.comment,
            'agent_id', a.id,
            'agent_status', a.status,
            'build_id', b.id,
            'message', case when write_notification.kind like 'agent.%' then b.message else p.message end,
            'result', b.result
        ),
        write_notification.occurred_at
    from public.plan as p
    cross join lateral (select to_jsonb(p) as columns offset 0) as later
    left join public.agent as a
        on
            p.user_id = a.user_id
            and p.session_id = a.session_id
    -- The open build, or the one that ended last.
    left join lateral (
        select
            newest.id,
            newest.message,
            newest.result
        from public.build as newest
        where
            newest.plan_id = p.id
            and newest.user_id = p.user_id
        order by newest.finished_at desc nulls first
        limit 1
    ) as b on true
    inner join greenlight.subscriber as s on coalesce(write_notification.subscriber_id, s.id) = s.id
    where p.id = write_notification.plan_id;
end;
$$;
revoke all on function greenlight.write_notification from public, anon, authenticated, service_role;

-- A deferred trigger runs as the API role of the call, so this one runs as its owner.
create or replace function greenlight.notify()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if not exists (select from greenlight.subscriber) then
        return null;
    end if;

    if tg_table_name = 'plan' then
        perform greenlight.write_notification(
            null, gen_random_uuid(), 'plan.' || new.status, coalesce(new.decided_at, new.created_at), new.id
        );
    else
        perform greenlight.write_notification(
            null, gen_random_uuid(), 'agent.' || new.status, new.updated_at, new.plan_id
        );
    end if;

    return null;
end;
$$;
revoke all on function greenlight.notify from public, anon, authenticated, service_role;

-- Makes the reminders and expiries of a subscriber that are due, at most 1,000, in the order of their moments, and
-- remembers up to where. Another claim that is at it, or a lock on a plan or its user, leaves the rest to a later one.
create or replace function greenlight.make_notifications(subscriber_id bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_subscriber greenlight.subscriber;
    v_due record;
begin
    select *
    into v_subscriber
    from greenlight.subscriber as s
    where s.id = make_notifications.subscriber_id
    for no key update skip locked;

    if not found then
        return;
    end if;

    for v_due in
        select
            'plan.expired' as kind,
            null::interval as after,
            p.expires_at as moment,
            p.id
        from public.plan as p
        where
            p.status = 'proposed'
            and p.deleted_at is null
            and p.expires_at between v_subscriber.made_until and v_now
            and (p.expires_at, p.id) > (v_subscriber.made_until, v_subscriber.made_plan_id)

        union all
        select
            'plan.reminder',
            step.after,
            p.created_at + step.after,
            p.id
        from (
            -- Of several steps that are over, only the newest: a step lasts until the next one. In seconds, because
            -- adding a day or a month and taking it away again may end at another time.
            select
                steps.after,
                lead(steps.after) over (order by steps.after) as next
            from (
                select distinct make_interval(secs => extract(epoch from r)::double precision) as after
                from greenlight.setting as s, unnest(s.remind_after) as r
            ) as steps
        ) as step
        cross join lateral (
            select
                waiting.id,
                waiting.created_at
            from public.plan as waiting
            where
                waiting.status = 'proposed'
                and waiting.deleted_at is null
                and waiting.created_at between v_subscriber.made_until - step.after and v_now - step.after
                and (waiting.created_at > v_now - step.next) is not false
                and (waiting.expires_at > v_now) is not false
            -- So that the index is searched for each step, instead of all proposals for all of them.
            offset 0
        ) as p
        where (p.created_at + step.after, p.id) > (v_subscriber.made_until, v_subscriber.made_plan_id)
        order by moment, id
        limit 1000
    loop
        perform
        from public.plan as p
        inner join auth.users as u on p.user_id = u.id
        where
            p.id = v_due.id
            and p.status = 'proposed'
            and p.deleted_at is null
        for key share of u skip locked
        for share of p skip locked;

        if found then
            -- The same id for each subscriber that makes this. The 8s make it a UUID of version 8 (RFC 9562).
            perform greenlight.write_notification(
                v_subscriber.id,
                overlay(
                    overlay(
                        md5(concat_ws(' ', v_due.id, v_due.kind, extract(epoch from v_due.after))) placing '8' from 13
                    )
                    placing '8' from 17
                )::uuid,
                v_due.kind,
                v_due.moment,
                v_due.id
            );
        elsif exists (
            select from public.plan as p
            where
                p.id = v_due.id
                and p.status = 'proposed'
                and p.deleted_at is null
        ) then
            exit;
        end if;

        v_subscriber.made_until := v_due.moment;
        v_subscriber.made_plan_id := v_due.id;
    end loop;

    update greenlight.subscriber as s
    set
        claimed_at = v_now,
        made_until = v_subscriber.made_until,
        made_plan_id = v_subscriber.made_plan_id
    where s.id = v_subscriber.id;
end;
$$;
revoke all on function greenlight.make_notifications from public, anon, authenticated, service_role;

create or replace function greenlight.check_subscriber(subscriber text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if (subscriber ~ '^[a-z0-9_-]{1,40}$') is not true then
        perform greenlight.refuse('invalid_subscriber', 'subscriber does not match ^[a-z0-9_-]{1,40}$.');
    end if;
end;
$$;
revoke all on function greenlight.check_subscriber from public, anon, authenticated, service_role;

-- Never waits for a lock: it skips what another call has locked and leaves it to a later claim.
create or replace function greenlight.claim_notifications(
    subscriber text, max_notifications integer, lease_seconds integer
)
returns setof public.notification_claim
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_lease interval;
    v_subscriber_id bigint;
    v_now timestamptz;
    v_claim public.notification_claim;
begin
    perform greenlight.check_subscriber(subscriber);

    if (max_notifications between 1 and 100) is not true then
        perform greenlight.refuse('invalid_max_notifications', 'max_notifications is not from 1 to 100.');
    end if;

    v_lease := greenlight.check_lease(lease_seconds);

    select s.id
    into v_subscriber_id
    from greenlight.subscriber as s
    where s.name = claim_notifications.subscriber;

    -- A new one. If another claim is subscribing the same name at this moment, that one does it.
    if v_subscriber_id is null then
        if pg_try_advisory_xact_lock(hashtextextended('greenlight/subscriber/' || subscriber, 0)) then
            insert into greenlight.subscriber (name, claimed_at, made_until, made_plan_id)
            values (subscriber, clock_timestamp(), clock_timestamp(), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            on conflict on constraint subscriber_name_key do nothing;
        end if;

        return;
    end if;

    perform greenlight.make_notifications(v_subscriber_id);

    v_now := clock_timestamp();

    -- One at a time, for the same reason as in claim_builds().
    for v_number in 1..max_notifications loop
        update greenlight.notification as n
        set
            status = 'leased',
            attempt = n.attempt + 1,
            run_after = v_now + v_lease
        where
            n.id = (
                select due.id
                from greenlight.notification as due
                where
                    due.subscriber_id = v_subscriber_id
                    and due.status <> 'failed'
                    and due.attempt < 12
                    and due.run_after <= v_now
                order by due.run_after, due.id
                limit 1
                for no key update skip locked
            )
        returning
            n.id,
            n.attempt,
            n.event_id,
            n.kind,
            n.occurred_at,
            n.user_id,
            -- Not if it is unconfirmed, or a deleted user's, of whom Supabase Auth keeps a hash.
            (
                select nullif(u.email, '')
                from auth.users as u
                where
                    u.id = n.user_id
                    and u.email_confirmed_at is not null
                    and u.deleted_at is null
            ),
            (
                select array_agg(distinct approver.email order by approver.email)
                from greenlight.approver_emails((n.data ->> 'team_id')::uuid) as approver (email)
                where
                    n.data ->> 'team_id' is not null
                    and approver.email <> ''
            ),
            n.data
        into v_claim;

        exit when not found;
        return next v_claim;
    end loop;
end;
$$;
revoke all on function greenlight.claim_notifications from public, anon, authenticated, service_role;
grant execute on function greenlight.claim_notifications to service_role;

create or replace function public.claim_notifications(
    subscriber text, max_notifications integer default 10, lease_seconds integer default 60
)
returns setof public.notification_claim
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return query
    select * from greenlight.claim_notifications(subscriber, max_notifications, lease_seconds);
end;
$$;
comment on function public.claim_notifications is
'Hands out up to max_notifications that are due for this subscriber, each for lease_seconds. Pass notification_id and '
'attempt to finish or fail one; otherwise it is handed out again after the lease, up to twelve times. The first call '
'with a name subscribes it to what happens from then on. For the service role.';
revoke all on function public.claim_notifications from public, anon, authenticated, service_role;
grant execute on function public.claim_notifications to service_role;

create or replace function greenlight.finish_notification(notification_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    delete from greenlight.notification as n
    where
        n.id = notification_id
        and n.attempt = finish_notification.attempt
        and n.status = 'leased';

    return found;
end;
$$;
revoke all on function greenlight.finish_notification from public, anon, authenticated, service_role;
grant execute on function greenlight.finish_notification to service_role;

create or replace function public.finish_notification(notification_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.finish_notification(notification_id, attempt);
end;
$$;
comment on function public.finish_notification is
'Removes a notification that was delivered. Returns false, and does nothing, if this attempt is not the current one, '
'has failed, or the notification is gone. For the service role.';
revoke all on function public.finish_notification from public, anon, authenticated, service_role;
grant execute on function public.finish_notification to service_role;

create or replace function greenlight.fail_notification(
    notification_id bigint, attempt integer, message text, retry boolean, retry_seconds integer
)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if retry is null then
        perform greenlight.refuse('invalid_retry', 'retry is missing.');
    end if;

    if not (retry_seconds between 0 and 86400) then
        perform greenlight.refuse('invalid_retry_seconds', 'retry_seconds is not from 0 to 86400.');
    end if;

    update greenlight.notification as n
    set
        status = case when retry and n.attempt < 12 then 'waiting' else 'failed' end,
        run_after = clock_timestamp() + greatest(
            least(make_interval(secs => 10 * 4 ^ (n.attempt - 1)), interval '6 hours'),
            make_interval(secs => retry_seconds)
        ),
        message = coalesce(left(fail_notification.message, 500), n.message)
    where
        n.id = notification_id
        and n.attempt = fail_notification.attempt
        and n.status = 'leased';

    return found;
end;
$$;
revoke all on function greenlight.fail_notification from public, anon, authenticated, service_role;
grant execute on function greenlight.fail_notification to service_role;

create or replace function public.fail_notification(
    notification_id bigint,
    attempt integer,
    message text default null,
    retry boolean default true,
    retry_seconds integer default null
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.fail_notification(notification_id, attempt, message, retry, retry_seconds);
end;
$$;
comment on function public.fail_notification is
'Fails an attempt to deliver. With retry it is handed out again, after 10 s, 40 s, 160 s and so on, at most 6 hours, '
'or after retry_seconds if that is later; without it, or after the twelfth attempt, never. Returns as '
'finish_notification() does. For the service role.';
revoke all on function public.fail_notification from public, anon, authenticated, service_role;
grant execute on function public.fail_notification to service_role;

-- What is locked at this moment stays: without its subscriber it is not handed out, and a purge removes it.
create or replace function greenlight.forget_subscriber(subscriber text)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_subscriber_id bigint;
begin
    perform greenlight.check_subscriber(subscriber);

    delete from greenlight.subscriber as s
    where s.name = forget_subscriber.subscriber
    returning s.id into v_subscriber_id;

    delete from greenlight.notification as n
    where n.id in (
        select theirs.id
        from greenlight.notification as theirs
        where theirs.subscriber_id = v_subscriber_id
        for update skip locked
    );

    return v_subscriber_id is not null;
end;
$$;
revoke all on function greenlight.forget_subscriber from public, anon, authenticated, service_role;
grant execute on function greenlight.forget_subscriber to service_role;

create or replace function public.forget_subscriber(subscriber text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.forget_subscriber(subscriber);
end;
$$;
comment on function public.forget_subscriber is
'Removes a subscriber and its notifications. Returns false if there is none of this name. A claim with the name '
'subscribes it again. For the service role.';
revoke all on function public.forget_subscriber from public, anon, authenticated, service_role;
grant execute on function public.forget_subscriber to service_role;

-- Part 10: retention, for the service role -------------------------------------------------------------------

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
        and to_jsonb(o) ->> 'archived_at' is null
        and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true'
        and not exists (select from public.plan as p where p.document_id = o.id)
    order by o.name collate "C"
    limit least(greatest(batch_size, 1), 1000);
$$;
revoke all on function greenlight.orphaned_documents from public, anon, authenticated, service_role;
grant execute on function greenlight.orphaned_documents to service_role;

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
comment on function public.orphaned_documents is
'Documents in the bucket plans that no plan refers to and that are older than older_than, by name, after '
'after_name, at most 1,000 at a time. Remove them through the Storage API, which checks again. For the service role.';
revoke all on function public.orphaned_documents from public, anon, authenticated, service_role;
grant execute on function public.orphaned_documents to service_role;

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
comment on function public.purge_deleted_agents is
'Removes for good the agents deleted before deleted_before, with their plans, events and builds, at most 1,000 at a '
'time, and returns how many. Call it until it returns 0; locked agents are left for the next call. For the service '
'role.';
revoke all on function public.purge_deleted_agents from public, anon, authenticated, service_role;
grant execute on function public.purge_deleted_agents to service_role;

-- Plan by plan, in the same way. Plans that must stay are not in closed_plan, and locked plans are skipped: neither
-- counts towards the batch.
create or replace function greenlight.purge_closed_plans(closed_before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    -- A proposal that can still be approved stays, even if closed_before is in the future.
    v_before timestamptz := least(closed_before, clock_timestamp());
    v_plan record;
    v_purged bigint := 0;
begin
    if closed_before is null then
        return 0;
    end if;

    for v_plan in
        select *
        from greenlight.closed_plan as c
        where c.closed_at < v_before
        order by c.closed_at
    loop
        perform
        from auth.users as u
        where u.id = v_plan.user_id
        for key share skip locked;

        continue when not found;
        continue when not pg_try_advisory_xact_lock(greenlight.session_key(v_plan.user_id, v_plan.session_id));

        perform
        from greenlight.closed_plan as c
        where
            c.id = v_plan.id
            and c.closed_at < v_before
        for update skip locked;

        continue when not found;

        delete from public.plan as p
        where p.id = v_plan.id;

        v_purged := v_purged + 1;

        exit when v_purged >= least(greatest(batch_size, 1), 1000);
    end loop;

    return v_purged;
end;
$$;
revoke all on function greenlight.purge_closed_plans from public, anon, authenticated, service_role;
grant execute on function greenlight.purge_closed_plans to service_role;

create or replace function public.purge_closed_plans(closed_before timestamptz, batch_size integer default 100)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.purge_closed_plans(closed_before, batch_size);
end;
$$;
comment on function public.purge_closed_plans is
'Removes for good the plans that were never approved and that were decided, expired or superseded before '
'closed_before, at most 1,000 at a time, and returns how many. Of a session with an agent the newest plan stays. Call '
'it until it returns 0; locked plans are left for the next call. For the service role.';
revoke all on function public.purge_closed_plans from public, anon, authenticated, service_role;
grant execute on function public.purge_closed_plans to service_role;

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

-- Locked ones are skipped. A notification whose subscriber is gone goes too, however old it is.
create or replace function greenlight.purge_notifications(before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_subscribers bigint;
    v_notifications bigint;
begin
    delete from greenlight.subscriber as s
    where s.id in (
        select idle.id
        from greenlight.subscriber as idle
        where idle.claimed_at < before
        for update skip locked
    );

    get diagnostics v_subscribers = row_count;

    delete from greenlight.notification as n
    where n.id in (
        select old.id
        from greenlight.notification as old
        where
            (
                old.created_at < before
                or not exists (select from greenlight.subscriber as s where s.id = old.subscriber_id)
            )
            and not (old.status = 'leased' and old.run_after > clock_timestamp())
        order by old.id
        limit least(greatest(batch_size, 1), 1000)
        for update skip locked
    );

    get diagnostics v_notifications = row_count;

    return v_subscribers + v_notifications;
end;
$$;
revoke all on function greenlight.purge_notifications from public, anon, authenticated, service_role;
grant execute on function greenlight.purge_notifications to service_role;

create or replace function public.purge_notifications(before timestamptz, batch_size integer default 100)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.purge_notifications(before, batch_size);
end;
$$;
comment on function public.purge_notifications is
'Removes for good the notifications written before then that are not being delivered now, at most 1,000 at a time, '
'and the subscribers that have not claimed since then, with theirs. Returns how many rows went: call it until it '
'returns 0. For the service role.';
revoke all on function public.purge_notifications from public, anon, authenticated, service_role;
grant execute on function public.purge_notifications to service_role;

-- Part 11: installation --------------------------------------------------------------------------------------

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

create or replace function public.installation()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return greenlight.installation();
end;
$$;
comment on function public.installation is
'What of Greenlight is in this database, for "greenlight doctor". For the service role.';
revoke all on function public.installation from public, anon, authenticated, service_role;
grant execute on function public.installation to service_role;
