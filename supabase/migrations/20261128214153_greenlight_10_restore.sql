-- What a restore of a dump may do, and what `greenlight doctor` compares afterwards.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Written by `make migration` from supabase/functions.sql.

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

-- By hand, after the functions: triggers that call them.

create trigger refuse_restore
before insert on public.plan
for each row
when (new.created_at <> now())
execute function greenlight.refuse_restore();

create trigger refuse_restore
before insert on public.agent
for each row
when (new.created_at <> now())
execute function greenlight.refuse_restore();

notify pgrst, 'reload schema';
