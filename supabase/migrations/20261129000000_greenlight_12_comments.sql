-- Comments on passages and a note with each decision, and what the planner says with a proposal.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

alter table public.plan
add column message text,
add column comments jsonb;

comment on column public.plan.message is
'What the planner said to the human with the proposal.';
comment on column public.plan.comment is
'What the human wrote with the decision, about the whole plan.';
comment on column public.plan.comments is
'What the human wrote on passages, with the decision: a list of {start, end, exact, body}. start and end count code '
'points of the document. A page that shows a comment checks that exact stands there.';
comment on table public.plan is
'One revision of a planning session''s document that was proposed or approved. Its contents never change; only '
'status, the decision (decided_at, decided_aal, decided_via, comment, comments), updated_at and deleted_at do. Written '
'by functions only.';

-- Written by `make migration` from supabase/functions.sql.

drop function greenlight.approve_plan(text, integer, text, text, text);
drop function greenlight.decide_plan(uuid, text, integer, text, text);
drop function greenlight.propose_plan(text, integer, text, text, text, timestamp with time zone, uuid);
drop function greenlight.reject_plan(text, integer, text);
drop function greenlight.request_changes(text, integer, text);
drop function public.approve_plan(text, integer, text, text, text);
drop function public.propose_plan(text, integer, text, text, text, timestamp with time zone, uuid);
drop function public.reject_plan(text, integer, text);
drop function public.request_changes(text, integer, text);

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
    if not greenlight.is_text(comment) then
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
    if comments in ('[]', 'null') then
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
        proposed_by, expires_at, message, decided_at, decided_aal, decided_via, comment, comments
    )
    values (
        user_id,
        session_id,
        version,
        greenlight.clean_title(title),
        greenlight.lock_document(document_path),
        document_path,
        document_sha256,
        document_url,
        status,
        case when not v_decided then v_caller end,
        expires_at,
        message,
        case when v_decided then clock_timestamp() end,
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
    v_plan public.plan;
begin
    update public.plan as p
    set
        status = decision,
        decided_at = clock_timestamp(),
        decided_aal = case when greenlight.actor_role() <> 'service_role' then greenlight.claims() ->> 'aal' end,
        decided_via = greenlight.caller(),
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
    message text
)
returns public.plan_proposal
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.user_or_named(user_id, active => true);
    v_path text;
    v_newest integer;
    v_agent public.agent;
    v_plan public.plan;
    v_refused public.plan;
begin
    perform greenlight.check_version(session_id, version);
    perform greenlight.check_title(v_user, session_id, version, title);
    v_path := greenlight.check_document(v_user, session_id, document_sha256, coalesce(document_url, ''));

    if message is not null and not greenlight.is_text(message) then
        perform greenlight.refuse('invalid_message', 'message is blank or longer than 4,000 characters.');
    end if;

    v_newest := greenlight.lock_session(v_user, session_id);

    -- A session without a plan has no agent.
    if v_newest is not null then
        v_agent := greenlight.lock_session_agent(v_user, session_id);
        v_plan := greenlight.find_plan(v_user, session_id, version);
    end if;

    -- A replay.
    if v_plan.document_sha256 = document_sha256 then
        return (v_plan.id, version, v_plan.status, false)::public.plan_proposal;
    end if;

    if v_plan.id is not null then
        perform greenlight.refuse('plan_conflict', format('Version %s exists with another document.', version));
    end if;

    -- Or a client could use up the numbers, and leave none to the human.
    if version - 1000 > coalesce(v_newest, 0) and greenlight.untrusted_client() is not null then
        perform greenlight.refuse(
            'invalid_version',
            format('A client proposes at most 1,000 above version %s, the newest.', coalesce(v_newest, 0))
        );
    end if;

    if not (isfinite(expires_at) and expires_at > clock_timestamp()) then
        perform greenlight.refuse('invalid_expires_at', 'expires_at is not in the future, or not finite.');
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

    if v_newest is not null then
        perform greenlight.refuse_closed(v_plan, v_agent, version, v_newest);
        perform greenlight.supersede_proposal(v_user, session_id, v_newest);
    end if;

    v_plan := greenlight.insert_plan(
        v_user, session_id, version, title, v_path, document_sha256, document_url, 'proposed', expires_at, message
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
    message text default null
)
returns public.plan_proposal
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.propose_plan(
        session_id, version, title, document_sha256, document_url, expires_at, user_id, message
    );
end;
$$;
comment on function public.propose_plan is
'Proposes the stored document of a planning session to its user, who approves it, rejects it or requests changes. '
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
    comments jsonb
)
returns public.plan_approval
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.require_human();
    v_path text;
    v_newest integer;
    v_comments jsonb;
    v_agent public.agent;
    v_plan public.plan;
begin
    perform greenlight.check_version(session_id, version);

    if title is not null then
        perform greenlight.check_title(v_user, session_id, version, title);
    end if;

    v_path := greenlight.check_document(v_user, session_id, document_sha256, document_url);

    if comment is not null then
        perform greenlight.check_comment(comment);
    end if;

    if comments is not null then
        v_comments := greenlight.check_comments(comments);
    end if;
    v_newest := greenlight.lock_session(v_user, session_id);

    if v_newest is not null then
        v_agent := greenlight.lock_session_agent(v_user, session_id);
        v_plan := greenlight.find_plan(v_user, session_id, version);
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

    perform greenlight.refuse_closed(v_plan, v_agent, version, v_newest);

    if v_plan.expires_at <= clock_timestamp() then
        perform greenlight.refuse('plan_expired', format('Version %s expired at %s.', version, v_plan.expires_at));
    end if;

    if v_plan.id is null and (title is null or document_url is null) then
        perform greenlight.check_title(v_user, session_id, version, title);
        perform greenlight.check_document(v_user, session_id, document_sha256, coalesce(document_url, ''));
    end if;

    -- What this version replaces: the plan that was approved before, and an undecided earlier proposal.
    update public.plan as p
    set status = 'superseded'
    where p.id = v_agent.plan_id;

    if v_newest < version then
        perform greenlight.supersede_proposal(v_user, session_id, v_newest);
    end if;

    if v_plan.id is null then
        v_plan := greenlight.insert_plan(
            v_user, session_id, version, title, v_path, document_sha256, document_url, 'approved',
            comment => comment, comments => v_comments
        );
    else
        perform greenlight.lock_document(v_path);
        v_plan := greenlight.write_decision(v_plan.id, 'approved', comment, v_comments);
    end if;

    if v_agent.id is null then
        insert into public.agent (user_id, session_id, plan_id, name)
        values (v_user, session_id, v_plan.id, left(v_plan.title, 200))
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
    comments jsonb default null
)
returns public.plan_approval
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.approve_plan(session_id, version, title, document_sha256, document_url, comment, comments);
end;
$$;
comment on function public.approve_plan is
'Approves a version of a planning session: the plan, its agent, the event and the build, together or not at all. For a '
'proposed version session_id, version and document_sha256 are enough; otherwise all five are needed. The same session, '
'version and hash again is a replay: the same answer, created is false, nothing is written. comment, and comments on '
'passages, are a note for the builder. Humans only.';
revoke all on function public.approve_plan from public, anon, authenticated, service_role;
grant execute on function public.approve_plan to authenticated;

-- Decides on a proposal of the user, who is locked already.
create or replace function greenlight.decide_plan(
    user_id uuid, session_id text, version integer, decision text, comment text, comments jsonb
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_newest integer := greenlight.lock_session(user_id, session_id);
    v_plan public.plan;
begin
    perform greenlight.lock_session_agent(user_id, session_id);
    v_plan := greenlight.find_plan(user_id, session_id, version);

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
        perform greenlight.refuse_closed(v_plan, null, version, v_newest);
    end if;

    return greenlight.write_decision(v_plan.id, decision, comment, comments);
end;
$$;
revoke all on function greenlight.decide_plan from public, anon, authenticated, service_role;

create or replace function greenlight.request_changes(
    session_id text, version integer, comment text, comments jsonb
)
returns public.plan
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.require_human();
    v_comments jsonb;
begin
    perform greenlight.check_version(session_id, version);
    perform greenlight.check_comment(comment);
    v_comments := greenlight.check_comments(comments);

    if comment is null and v_comments is null then
        perform greenlight.refuse('invalid_comment', 'There is neither a comment nor a comment on a passage.');
    end if;

    return greenlight.decide_plan(v_user, session_id, version, 'changes_requested', comment, v_comments);
end;
$$;
revoke all on function greenlight.request_changes from public, anon, authenticated, service_role;
grant execute on function greenlight.request_changes to authenticated;

create or replace function public.request_changes(
    session_id text, version integer, comment text default null, comments jsonb default null
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.request_changes(session_id, version, comment, comments);
end;
$$;
comment on function public.request_changes is
'Sends a proposed plan back to its planner, with a comment that says what to change, comments on passages, or both. '
'Final; the planner proposes a higher version. Humans only. The same again is a no-op; with other words it is '
'plan_decided.';
revoke all on function public.request_changes from public, anon, authenticated, service_role;
grant execute on function public.request_changes to authenticated;

create or replace function greenlight.reject_plan(session_id text, version integer, comment text, comments jsonb)
returns public.plan
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_user uuid := greenlight.require_human();
    v_comments jsonb;
begin
    perform greenlight.check_version(session_id, version);
    perform greenlight.check_comment(comment);
    v_comments := greenlight.check_comments(comments);
    return greenlight.decide_plan(v_user, session_id, version, 'rejected', comment, v_comments);
end;
$$;
revoke all on function greenlight.reject_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.reject_plan to authenticated;

create or replace function public.reject_plan(
    session_id text, version integer, comment text default null, comments jsonb default null
)
returns public.plan
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.reject_plan(session_id, version, comment, comments);
end;
$$;
comment on function public.reject_plan is
'Rejects a proposed plan, with a comment and comments on passages if there are any. Final. Humans only. The same again '
'is a no-op; with other words it is plan_decided.';
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
    v_user uuid := greenlight.user_or_named(user_id, active => false);
begin
    perform greenlight.check_version(session_id, version);
    return greenlight.decide_plan(v_user, session_id, version, 'withdrawn', null, null);
end;
$$;
revoke all on function greenlight.withdraw_plan from public, anon, authenticated, service_role;
grant execute on function greenlight.withdraw_plan to authenticated, service_role;

-- By hand, after the functions: triggers that call them.

-- (The lock is held while the rows are checked, all with nulls: 0.1 s for a million.)
alter table public.plan
add constraint plan_message_check check (message is null or greenlight.is_text(message)) not valid,
add constraint plan_comments_check check (
    comments is null or (decided_at is not null and greenlight.fault_of_comments(comments) is null)
) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.plan validate constraint plan_message_check;
-- squawk-ignore constraint-missing-not-valid
alter table public.plan validate constraint plan_comments_check;

create or replace trigger keep_plan
before update on public.plan
for each row
when (
    (
        old.id,
        old.user_id,
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
            (old.decided_at, old.decided_aal, old.decided_via, old.comment, old.comments)
            is distinct from (new.decided_at, new.decided_aal, new.decided_via, new.comment, new.comments)
            or (
                old.status <> new.status
                and not (old.status = 'approved' and new.status in ('superseded', 'archived'))
            )
        )
    )
    or (old.status = 'proposed' and new.status = 'superseded' and new.decided_at is not null)
)
execute function greenlight.refuse_rewrite();

notify pgrst, 'reload schema';
