-- Stored documents stay as they are. What policies cannot promise, triggers on the tables of Storage do.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Written by `make migration` from supabase/functions.sql.

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

-- By hand, after the functions: triggers that call them.

-- The policy first, which locks out all: a reader that wants to write would wait for the triggers' lock, and the policy
-- for the reader.
--
-- An OAuth client would otherwise exchange what was just compared with what the human saw. To authenticated only: anon
-- may not call the function, and a policy for everyone would break its access to the other buckets.
create policy greenlight_delete_human on storage.objects
as restrictive for delete to authenticated
using (
    bucket_id is distinct from 'plans'
    or (select greenlight.untrusted_client()) is null
);

-- postgres may create triggers on the tables of Storage, which it does not own, but cannot drop them; uninstall.sql
-- drops their functions. No condition may name `version`: Storage could not change its type any more.
create trigger greenlight_keep_document
before update on storage.objects
for each row
when (old.bucket_id = 'plans' or new.bucket_id = 'plans')
execute function greenlight.keep_document();

create trigger greenlight_limit_document
before insert on storage.objects
for each row
when (new.bucket_id = 'plans')
execute function greenlight.limit_document();

create trigger greenlight_keep_bucket
before insert or update on storage.buckets
for each row
when (new.id = 'plans')
execute function greenlight.keep_bucket();

notify pgrst, 'reload schema';
