-- Documents of teams: who reads a plan reads its document. In a migration of its own, so that the storage of the whole
-- project does not wait for the indexes of the one before.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Documents: each command has its own rule now, because others read what their team's plans refer to. A policy to
-- public must not name our tables: anon may not read them, and would fail on the project's other buckets.
drop policy greenlight_own_only on storage.objects;

create policy greenlight_insert_own_only on storage.objects
as restrictive for insert to public
with check (
    bucket_id is distinct from 'plans'
    or (
        split_part(name, '/', 1) = (select auth.uid())::text
        and name ~ '^[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md$'
    )
);

create policy greenlight_delete_own_only on storage.objects
as restrictive for delete to public
using (
    bucket_id is distinct from 'plans'
    or (
        split_part(name, '/', 1) = (select auth.uid())::text
        and name ~ '^[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md$'
    )
);

create policy greenlight_select_signed_in on storage.objects
as restrictive for select to public
using (
    bucket_id is distinct from 'plans'
    or current_user = 'authenticated'
    or (
        split_part(name, '/', 1) = (select auth.uid())::text
        and name ~ '^[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md$'
    )
);

-- plan's own policy applies to the inner select: of a deleted plan only the owner reads the document.
create policy greenlight_select_readable on storage.objects
as restrictive for select to authenticated
using (
    bucket_id is distinct from 'plans'
    or (
        split_part(name, '/', 1) = (select auth.uid())::text
        and name ~ '^[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md$'
    )
    or (
        select plan.id
        from public.plan
        where plan.document_id = objects.id
        order by plan.id
        limit 1
    ) is not null
);

notify pgrst, 'reload schema';
