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

-- What `greenlight doctor` compares with what this version installs. `objects` has everything of ours, and for most of
-- it the statement that makes it; `facts` is the rest of what it looks at.
create or replace function greenlight.installation()
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    with
    our_table as (
        select
            c.oid,
            c.oid::regclass::text as name,
            c.relkind,
            c.relowner,
            c.relacl,
            c.relrowsecurity
        from pg_catalog.pg_class as c
        where
            c.relkind in ('r', 'p', 'v')
            and (
                c.relnamespace = 'greenlight'::regnamespace
                or (
                    c.relnamespace = 'public'::regnamespace
                    and c.relname in ('plan', 'agent', 'agent_event', 'build', 'build_log')
                )
            )
    ),

    -- Those in public have a namesake in greenlight, which they call.
    our_function as (
        select
            p.*,
            p.oid::regprocedure::text as name
        from pg_catalog.pg_proc as p
        where
            p.pronamespace = 'greenlight'::regnamespace
            or (
                p.pronamespace = 'public'::regnamespace
                and p.proname in (
                    select inner_function.proname
                    from pg_catalog.pg_proc as inner_function
                    where inner_function.pronamespace = 'greenlight'::regnamespace
                )
            )
    ),

    privilege as (
        select
            'table' as kind,
            t.name,
            coalesce(t.relacl, acldefault('r', t.relowner)) || coalesce(
                (
                    select array_agg(column_acl)
                    from pg_catalog.pg_attribute as a, unnest(a.attacl) as column_acl
                    where a.attrelid = t.oid
                ),
                '{}'
            ) as acl
        from our_table as t

        union all
        select
            'sequence',
            c.oid::regclass::text,
            coalesce(c.relacl, acldefault('s', c.relowner))
        from our_table as t
        inner join pg_catalog.pg_depend as d on t.oid = d.refobjid and d.classid = 'pg_class'::regclass
        inner join pg_catalog.pg_class as c on d.objid = c.oid and c.relkind = 'S'

        union all
        select
            'function',
            f.name,
            coalesce(f.proacl, acldefault('f', f.proowner))
        from our_function as f

        union all
        select
            'schema',
            n.nspname,
            coalesce(n.nspacl, acldefault('n', n.nspowner))
        from pg_catalog.pg_namespace as n
        where n.nspname = 'greenlight'
    ),

    granted as (
        select
            p.kind,
            p.name,
            g.grantee,
            string_agg(distinct lower(g.privilege_type), ', ' order by lower(g.privilege_type)) as privileges
        from privilege as p
        cross join aclexplode(p.acl) as entry
        cross join lateral (
            select
                case when entry.grantee = 0 then 'public' else entry.grantee::regrole::text end as grantee,
                entry.privilege_type
        ) as g
        where g.grantee in ('public', 'anon', 'authenticated', 'service_role')
        group by p.kind, p.name, g.grantee
    ),

    object (name, definition) as (
        select
            'column ' || t.name || '.' || a.attname,
            concat_ws(
                ' ',
                format_type(a.atttypid, a.atttypmod),
                case when a.attnotnull then 'not null' end,
                'default ' || pg_get_expr(d.adbin, d.adrelid),
                nullif(a.attidentity, '')
            )
        from our_table as t
        inner join pg_catalog.pg_attribute as a on t.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum

        union all
        select
            'row level security of ' || t.name,
            format('alter table %s enable row level security', t.name)
        from our_table as t
        where t.relrowsecurity

        union all
        select
            'constraint ' || c.conname || ' on ' || t.name,
            format('alter table %s add constraint %I %s', t.name, c.conname, pg_get_constraintdef(c.oid))
        from our_table as t
        inner join pg_catalog.pg_constraint as c on t.oid = c.conrelid and c.contype in ('c', 'f', 'p', 'u')

        union all
        select
            'index ' || i.indexrelid::regclass,
            pg_get_indexdef(i.indexrelid) || case when i.indisvalid then '' else ' (invalid)' end
        from our_table as t
        inner join pg_catalog.pg_index as i on t.oid = i.indrelid
        where not exists (select from pg_catalog.pg_constraint as c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))

        union all
        select
            'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass,
            replace(pg_get_triggerdef(t.oid), 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER') || case t.tgenabled
                when 'O' then ''
                when 'A' then format('; alter table %s enable always trigger %I', t.tgrelid::regclass, t.tgname)
                when 'R' then format('; alter table %s enable replica trigger %I', t.tgrelid::regclass, t.tgname)
                else ' (disabled)'
            end
        from pg_catalog.pg_trigger as t
        inner join pg_catalog.pg_proc as f on t.tgfoid = f.oid and f.pronamespace = 'greenlight'::regnamespace
        where not t.tgisinternal

        union all
        select
            format('policy %I on %s', p.polname, p.polrelid::regclass),
            concat_ws(
                ' ',
                format('drop policy if exists %I on %s; create policy %1$I on %2$s as', p.polname, p.polrelid::regclass),
                case when p.polpermissive then 'permissive' else 'restrictive' end,
                'for',
                case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                'to',
                (
                    select string_agg(case when r = 0 then 'public' else r::regrole::text end, ', ' order by r::regrole::text)
                    from unnest(p.polroles) as r
                ),
                'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
            )
        from pg_catalog.pg_policy as p
        where
            p.polrelid in (select t.oid from our_table as t)
            or (p.polrelid = 'storage.objects'::regclass and p.polname like 'greenlight\_%')

        union all
        select
            'function ' || f.name,
            case
                -- The project replaces these.
                when f.proname in ('viewer_teams', 'approver_teams', 'approver_emails') then 'the project''s own'
                else md5(
                    concat_ws(
                        ' ',
                        pg_get_function_arguments(f.oid),
                        pg_get_function_result(f.oid),
                        f.provolatile,
                        f.prosecdef,
                        f.proconfig,
                        replace(f.prosrc, E'\r', '')
                    )
                )
            end
        from our_function as f

        union all
        select
            'grants on ' || p.kind || ' ' || p.name,
            format('revoke all on %s %s from public, anon, authenticated, service_role', p.kind, p.name) || coalesce(
                (
                    select string_agg(
                        format('; grant %s on %s %s to %s', g.privileges, g.kind, g.name, g.grantee), '' order by g.grantee
                    )
                    from granted as g
                    where
                        g.kind = p.kind
                        and g.name = p.name
                ),
                ''
            )
        from privilege as p

        union all
        select
            'bucket plans',
            format(
                'insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) '
                'values (''plans'', ''plans'', %L, 1048576, ''{text/markdown}'') '
                'on conflict (id) do update set public = excluded.public',
                b.public
            )
        from storage.buckets as b
        where b.id = 'plans'
    )

    select jsonb_build_object(
        'objects',
        (select jsonb_object_agg(o.name, o.definition) from object as o),
        'facts',
        jsonb_build_object(
            'bucket',
            (select to_jsonb(b) from storage.buckets as b where b.id = 'plans'),
            'settings',
            (select to_jsonb(s) - 'only_row' from greenlight.setting as s),
            'sessions_name_the_client',
            exists (
                select
                from pg_catalog.pg_attribute as a
                where
                    a.attrelid = to_regclass('auth.sessions')
                    and a.attname = 'oauth_client_id'
            ),
            -- A Custom Access Token Hook: Supabase Auth may execute it, and it turns one jsonb into another.
            'hooks',
            (
                select coalesce(jsonb_agg(p.oid::regprocedure::text), '[]')
                from pg_catalog.pg_proc as p
                where
                    p.pronargs = 1
                    and p.proargtypes[0] = 'jsonb'::regtype
                    and p.prorettype = 'jsonb'::regtype
                    and exists (
                        select
                        from aclexplode(p.proacl) as entry
                        where entry.grantee = to_regrole('supabase_auth_admin')
                    )
            )
        )
    );
$$;
revoke all on function greenlight.installation from public, anon, authenticated, service_role;
grant execute on function greenlight.installation to service_role;

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
