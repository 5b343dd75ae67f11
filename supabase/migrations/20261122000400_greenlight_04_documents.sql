-- Where documents are kept: the private bucket plans, at {user_id}/{session_id}/{sha256}.md, and nowhere else.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values ('plans', 'plans', false, 1048576, array['text/markdown'])
on conflict (id) do update -- only the one of an earlier install, or greenlight_01 would have stopped
    set
        public = excluded.public,
        file_size_limit = excluded.file_size_limit,
        allowed_mime_types = excluded.allowed_mime_types;

-- The rule: in this bucket a user reaches well-formed keys in their own folder only. Permissive policies are OR-ed, so
-- one policy of the project for all its buckets would open this one. Restrictive policies are AND-ed: this one holds
-- for every command, whatever else the project allows, and says nothing of other buckets. (`using` is also the check
-- on new rows where `with check` is left out.)
--
-- The whole key is matched, not its first folder alone: `me/../you/x` begins with `me` too. It is one constant pattern
-- beside the comparison, because a pattern with the user's id in it would be compiled for every user.
create policy greenlight_own_only on storage.objects
as restrictive for all to public
using (
    bucket_id is distinct from 'plans'
    or (
        split_part(name, '/', 1) = (select auth.uid())::text
        and name ~ '^[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md$'
    )
);

-- A stored document is never overwritten, moved or renamed, and no other object is moved in here.
create policy greenlight_no_update on storage.objects
as restrictive for update to public
using (bucket_id is distinct from 'plans');

-- What is allowed, within the two rules above. `update` is not, because of greenlight_no_update.
create policy greenlight_select_own on storage.objects
for select to authenticated
using (bucket_id = 'plans');

create policy greenlight_insert_own on storage.objects
for insert to authenticated
with check (bucket_id = 'plans');

-- This does not check whether a plan refers to the document: plan_document_id_fkey does, and only a foreign key sees an
-- approval that commits at the same moment.
create policy greenlight_delete_own on storage.objects
for delete to authenticated
using (bucket_id = 'plans');
