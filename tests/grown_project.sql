-- A project that has lived for years, as tests/install/test_grown_project.py needs it: the first part is there before
-- Greenlight is pushed, the second comes after that. Both are run as postgres, like the migrations that they stand for.

-- Older projects grant everything on new tables and functions to the API roles.
alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;

create schema app;
grant usage on schema app to authenticated, service_role;
alter default privileges for role postgres in schema app grant all on tables to authenticated, service_role;

-- Names close to ours, in both schemas.
create type public.plan_status as enum ('free', 'pro');
create table public.plans (
    id bigint generated always as identity primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    status public.plan_status not null default 'free'
);
create table public.agents (id bigint generated always as identity primary key, plan_id bigint references public.plans (id));
create table public.builds (id bigint generated always as identity primary key, agent_id bigint references public.agents (id));
create table app.plan (id uuid primary key default gen_random_uuid(), name text);
create table app.agent (id uuid primary key default gen_random_uuid(), plan_id uuid references app.plan (id));
create index plan_status_idx on public.plans (status);
create index agent_plan_idx on public.agents (plan_id);

alter table public.plans enable row level security;
create policy select_own on public.plans for select to authenticated using (user_id = (select auth.uid()));

create function public.touch() returns trigger language plpgsql as $$ begin raise 'not yours'; end $$;
create function public.refuse(code text, details text) returns void language plpgsql as $$ begin raise 'not yours'; end $$;
create function public.plan(id bigint) returns setof public.plans language sql stable as $$ select * from public.plans $$;

-- Users have a profile, written by triggers on auth.users. Who left is remembered.
create table public.profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    email text
);
create table app.departure (user_id uuid, email text, at timestamptz not null default now());

create function app.handle_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'DELETE' then
        insert into app.departure (user_id, email) values (old.id, old.email);
        return old;
    end if;

    insert into public.profiles (id, email) values (new.id, new.email)
    on conflict (id) do update set email = excluded.email;
    return new;
end;
$$;
create trigger on_auth_user_created after insert on auth.users for each row execute function app.handle_user();
create trigger on_auth_user_updated after update on auth.users for each row execute function app.handle_user();
create trigger on_auth_user_deleted before delete on auth.users for each row execute function app.handle_user();

-- Everyone who is signed in may do everything in every bucket, and uploads are counted.
insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);
create policy "Signed-in users can do everything" on storage.objects
for all to authenticated using (true) with check (true);
create policy "Everyone sees everything" on storage.objects for select to public using (true);

create table app.upload (name text);
create function app.count_upload() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into app.upload (name) values (new.name);
    return null;
end;
$$;
create trigger count_upload after insert on storage.objects for each row execute function app.count_upload();

insert into auth.users (id, email, deleted_at)
values ('00000000-0000-4000-8000-00000000de1e', 'deleted@example.com', now() - interval '1 year');
insert into auth.users (id, email, banned_until)
values ('00000000-0000-4000-8000-00000000ba11', 'banned@example.com', now() + interval '100 years');
insert into public.plans (user_id) select id from auth.users;

-- After Greenlight:

-- A join table on ours. With it, `agent?select=*,plan(*)` is ambiguous: PostgREST asks for a hint.
create table public.agent_tag (
    agent_id uuid not null references public.agent (id) on delete cascade,
    plan_id uuid not null references public.plan (id) on delete cascade,
    tag text not null,
    primary key (agent_id, plan_id)
);
alter table public.agent_tag enable row level security;
create policy own on public.agent_tag for all to authenticated
using (exists (select from public.agent where agent.id = agent_id));

create view public.agent_overview with (security_invoker = true) as
select
    agent.id,
    agent.name,
    plan.version
from public.agent
inner join public.plan on agent.plan_id = plan.id;

-- A trigger and an index of theirs on our tables.
create table app.activity (agent_id uuid, status text);
create function app.log_activity() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into app.activity (agent_id, status) values (new.id, new.status);
    return new;
end;
$$;
create trigger aaa_log_activity before insert or update on public.agent for each row execute function app.log_activity();
create index agent_name_idx on public.agent (name);
