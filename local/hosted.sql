-- Makes of a fresh database, in which Lite has just made its tables, what a hosted Supabase project is on its
-- first day: roles, owners, grants, and the real definitions where Lite has simpler ones. Run once, as the superuser
-- supabase_admin, before the migrations come as postgres, which is none. Passwords are set by the caller.

create role postgres login createrole createdb bypassrls;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_auth_admin login noinherit createrole;
create role supabase_storage_admin login noinherit createrole;

grant anon, authenticated, service_role to authenticator, postgres, supabase_storage_admin;

-- On hosted projects the extension supautils lets postgres make policies on storage.objects; membership does it here.
grant supabase_storage_admin to postgres;

alter database postgres owner to postgres;
alter schema public owner to pg_database_owner;
grant usage on schema public to anon, authenticated, service_role;

create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;

-- Projects made before 2026 hand everything new in public to the API roles. Migrations that hold here hold in
-- projects with the narrow privileges of today, too.
alter default privileges for role postgres in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on sequences to anon, authenticated, service_role;

-- auth

alter schema auth owner to supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;
do $$
declare
    relation regclass;
begin
    for relation in
        select oid from pg_catalog.pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r'
    loop
        execute format('alter table %s owner to supabase_auth_admin', relation);
        execute format('alter table %s enable row level security', relation);
        execute format('grant all on %s to postgres', relation);
    end loop;
end;
$$;

-- Lite's own auth.uid(), role() and email() look at request.jwt.claim.* alone; these are GoTrue's.
create or replace function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;

create or replace function auth.email() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')
    )::text
$$;

create or replace function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
alter function auth.jwt() owner to supabase_auth_admin;

-- GoTrue stores objects in these columns; Lite stores a JSON string that holds one.
create function auth.unwrap_json() returns trigger language plpgsql set search_path = '' as $$
declare
    column_name text;
    value jsonb;
begin
    foreach column_name in array tg_argv loop
        value := to_jsonb(new) -> column_name;
        if jsonb_typeof(value) = 'string' then
            new := jsonb_populate_record(new, jsonb_build_object(column_name, (value #>> '{}')::jsonb));
        end if;
    end loop;
    return new;
end;
$$;

create trigger unwrap_json before insert or update on auth.users
for each row execute function auth.unwrap_json('raw_app_meta_data', 'raw_user_meta_data');

create trigger unwrap_json before insert or update on auth.identities
for each row execute function auth.unwrap_json('identity_data');

-- storage

alter schema storage owner to supabase_storage_admin;
grant usage on schema storage to postgres, anon, authenticated, service_role;

alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;

-- All the roles of the API hold everything here: row level security alone protects the tables.
grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;

create function storage.update_updated_at_column() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end;
$$;

create trigger update_objects_updated_at before update on storage.objects
for each row execute function storage.update_updated_at_column();

-- Rows that vanish behind the Storage API's back leave their bytes behind, so it refuses everybody.
create function storage.protect_delete() returns trigger language plpgsql as $$
begin
    if coalesce(current_setting('storage.allow_delete_query', true), 'false') != 'true' then
        raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
            using hint = 'This prevents accidental data loss from orphaned objects.', errcode = '42501';
    end if;
    return null;
end;
$$;

create trigger protect_buckets_delete before delete on storage.buckets
for each statement execute function storage.protect_delete();

create trigger protect_objects_delete before delete on storage.objects
for each statement execute function storage.protect_delete();
