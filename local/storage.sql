-- What storage-api 1.77 and later make of the tables of storage (their migrations 0062 to 0071). Like the real
-- storage-api, the gateway runs this at every start, so that data of an earlier version of the local stack goes on
-- working. The database tests run it, too, and without it they have the tables of storage-api 1.70.

alter table storage.buckets
add column if not exists versioning_status text not null default 'DISABLED'
constraint buckets_versioning_status_check check (versioning_status in ('DISABLED', 'ENABLED', 'SUSPENDED'));

alter table storage.objects
add column if not exists archived_at timestamptz,
add column if not exists is_delete_marker boolean not null default false,
add column if not exists is_versioned boolean not null default false;

-- One name may have several rows now, but only one that is not archived. No index is left that has the name in the
-- column's own collation.
alter table storage.objects
drop constraint if exists bucketid_objname,
drop constraint if exists objects_bucket_id_name_key; -- Lite's
drop index if exists storage.storage_objects_name_pattern_search; -- Lite's

create unique index if not exists objects_bucket_id_name_version_key
on storage.objects (bucket_id, (name collate "C"), version) nulls not distinct;

create unique index if not exists idx_objects_current_version
on storage.objects (bucket_id, (name collate "C"))
where archived_at is null;

create unique index if not exists idx_objects_null_version
on storage.objects (bucket_id, (name collate "C"))
where not is_versioned;

create index if not exists idx_objects_bucket_id_archived_at on storage.objects (bucket_id, archived_at);
