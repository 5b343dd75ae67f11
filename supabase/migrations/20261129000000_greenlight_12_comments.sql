-- Comments on passages and a note with each decision, and what the planner says with a proposal.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

alter table public.plan
add column message text,
add column comments jsonb;

-- As in 08. (Of jsonb, the planner does not use them for one who reads by a policy.)
alter table public.plan alter column message set statistics 0;

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
