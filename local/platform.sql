-- What a new hosted Supabase project has, as far as Greenlight needs it: roles and their settings, schemas, owners,
-- grants, and the real definitions of the parts of auth and storage that it uses. Run once for each
-- database, by the superuser supabase_admin, before the migrations run as postgres, which is not a superuser.
--
-- Two places run it. The local stack runs it after Lite has made its own tables of auth and storage, which stay
-- (hence every "if not exists"); the database tests run it in an empty database. Passwords are set by the caller.

do $$
begin
    -- Roles belong to the server: the second database of a server finds them there.
    if exists (select from pg_catalog.pg_roles where rolname = 'authenticator') then
        return;
    end if;

    create role postgres login createrole createdb bypassrls;
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
    create role authenticator login noinherit;
    create role supabase_auth_admin login noinherit createrole;
    create role supabase_storage_admin login noinherit createrole;

    grant anon, authenticated, service_role to authenticator, postgres, supabase_storage_admin;

    -- On hosted projects the extension supautils lets postgres create policies on storage.objects; here membership
    -- does, and storage.refuse_ddl() takes back all else that it brings.
    grant supabase_storage_admin to postgres;

    -- There it also lets postgres restore data with triggers off.
    grant set on parameter session_replication_role to postgres;

    -- Postgres applies a role's settings when the role logs in. The API roles never do: PostgREST applies their
    -- settings to each request, and so do gateway.mjs and the database tests. service_role has none of its own, so
    -- authenticator's stay.
    -- https://supabase.com/docs/guides/database/postgres/timeouts
    alter role postgres set search_path to "$user", public, extensions;
    alter role authenticator set statement_timeout = '8s';
    alter role anon set statement_timeout = '3s';
    alter role authenticated set statement_timeout = '8s';
end;
$$;

do $$
begin
    execute format('alter database %I owner to postgres', current_database());
end;
$$;
alter schema public owner to pg_database_owner;
grant usage on schema public to anon, authenticated, service_role;

create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;

-- auth

create schema if not exists auth;
alter schema auth owner to supabase_admin; -- `supabase db reset` drops the schemas of other owners
grant all on schema auth to supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;

-- The columns that the tests need. Lite's table has all of them and more.
create table if not exists auth.users (
    id uuid primary key,
    aud varchar(255),
    role varchar(255),
    email varchar(255) unique,
    email_confirmed_at timestamptz,
    encrypted_password varchar(255),
    banned_until timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    is_anonymous boolean not null default false
);

create table if not exists auth.sessions (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    created_at timestamptz,
    updated_at timestamptz
);
alter table auth.sessions add column if not exists oauth_client_id uuid; -- Lite has no OAuth server

do $$
declare
    v_table regclass;
begin
    for v_table in
        select oid from pg_catalog.pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r'
    loop
        execute format('alter table %s owner to supabase_auth_admin', v_table);
        execute format('alter table %s enable row level security', v_table);
        execute format('grant all on %s to postgres', v_table);
    end loop;
end;
$$;

-- Lite's own auth.uid(), role() and email() read request.jwt.claim.* only; these are GoTrue's.
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

-- storage

create schema if not exists storage;
alter schema storage owner to supabase_admin;
grant all on schema storage to supabase_storage_admin;
grant usage on schema storage to postgres, anon, authenticated, service_role;

create table if not exists storage.buckets (
    id text primary key,
    name text not null constraint bname unique,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    public boolean default false,
    avif_autodetection boolean default false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text
);

create table if not exists storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text references storage.buckets (id),
    name text,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_accessed_at timestamptz default now(),
    metadata jsonb,
    path_tokens text[] generated always as (string_to_array(name, '/')) stored,
    version text,
    owner_id text,
    user_metadata jsonb,
    constraint bucketid_objname unique (bucket_id, name)
);
create index if not exists idx_objects_bucket_id_name on storage.objects (bucket_id, (name collate "C"));

alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;

-- All API roles have all privileges here: only row level security protects the tables.
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

-- Deleting a row by SQL would leave its bytes behind, so only the Storage API may delete rows.
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

-- On hosted projects postgres does not own these tables. It can create triggers on them, and policies, but can neither
-- drop, disable nor comment on a trigger there, nor alter a table, nor create anything in the schema.
create function storage.refuse_ddl() returns event_trigger language plpgsql set search_path = '' as $$
declare
    v_object text;
begin
    if current_user <> 'postgres' then
        return;
    end if;

    if tg_event = 'sql_drop' then
        -- What goes with another object that was dropped by cascade is not asked about.
        select object_identity
        into v_object
        from pg_catalog.pg_event_trigger_dropped_objects()
        where original and object_type <> 'policy' and 'storage' in (schema_name, address_names[1]);
    else
        select object_identity
        into v_object
        from pg_catalog.pg_event_trigger_ddl_commands()
        where
            (schema_name = 'storage' or object_identity ~ ' on storage\.')
            and object_type <> 'policy'
            and command_tag not in ('CREATE TRIGGER', 'GRANT', 'REVOKE');
    end if;

    if v_object is not null then
        raise exception 'must be owner of %', v_object using errcode = '42501';
    end if;
end;
$$;

create event trigger storage_refuse_drop on sql_drop execute function storage.refuse_ddl();
create event trigger storage_refuse_ddl on ddl_command_end execute function storage.refuse_ddl();
