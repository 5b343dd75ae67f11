-- Removes Greenlight from the database: every table, type, function, policy and schema of it, and nothing else.
-- `greenlight uninstall` writes this as a migration. Nothing is dropped by cascade but our triggers on the tables of
-- Storage: if an object of the project depends on one of ours, Postgres says which, and nothing has changed.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

drop policy if exists greenlight_insert_own_only on storage.objects;
drop policy if exists greenlight_delete_own_only on storage.objects;
drop policy if exists greenlight_select_signed_in on storage.objects;
drop policy if exists greenlight_select_readable on storage.objects;
drop policy if exists greenlight_no_update on storage.objects;
drop policy if exists greenlight_select_own on storage.objects;
drop policy if exists greenlight_insert_own on storage.objects;
drop policy if exists greenlight_delete_own on storage.objects;
drop policy if exists greenlight_delete_human on storage.objects;

-- The role postgres does not own these tables, so it can drop a trigger there only with its function.
drop function if exists
greenlight.keep_document(),
greenlight.limit_document(),
greenlight.keep_bucket()
cascade;

drop function if exists
public.propose_plan(text, integer, text, text, text, timestamptz, uuid, text, uuid),
public.approve_plan(text, integer, text, text, text, text, jsonb, uuid),
public.request_changes(text, integer, text, jsonb, uuid),
public.reject_plan(text, integer, text, jsonb, uuid),
public.withdraw_plan(text, integer, uuid),
public.transition_agent(uuid, text),
public.delete_agent(uuid),
public.restore_agent(uuid),
public.deleted_agents(),
public.plan_teams(),
public.display_names(uuid[]),
public.latest_changes(uuid[], text[], uuid[], boolean, boolean),
public.claim_builds(text, integer, integer),
public.renew_build(uuid, integer, integer, text, integer, text),
public.finish_build(uuid, integer, jsonb, text),
public.fail_build(uuid, integer, text, boolean, text),
public.retry_build(uuid),
public.stop_build(uuid),
public.orphaned_documents(interval, text, integer),
public.purge_deleted_agents(timestamptz, integer),
public.purge_closed_plans(timestamptz, integer),
public.purge_build_logs(timestamptz, integer),
public.purge_notifications(timestamptz, integer),
public.claim_notifications(text, integer, integer),
public.finish_notification(bigint, integer),
public.fail_notification(bigint, integer, text, boolean, integer),
public.forget_subscriber(text),
public.installation();

-- The functions in our own schema: those that take or return rows of ours go before the tables and types.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid
        from pg_catalog.pg_proc as p
        where
            p.pronamespace = to_regnamespace('greenlight')
            and exists (
                select
                from pg_catalog.pg_type as t
                where
                    t.typtype = 'c'
                    and t.oid = any(p.prorettype || p.proargtypes::oid[])
            )
    loop
        execute format('drop function %s', v_function);
    end loop;
end;
$$;

-- These policies call our functions, or read one of the views, which read the tables.
drop policy if exists select_own on public.plan;
drop policy if exists select_own on public.agent_event;
drop policy if exists select_own on public.build_log;
drop policy if exists select_own on public.build;
drop policy if exists select_own on public.agent;

drop view if exists
greenlight.closed_plan,
greenlight.own_agent;

drop table if exists
public.build_log,
public.build,
public.agent_event,
public.agent,
public.plan,
greenlight.notification,
greenlight.subscriber,
greenlight.trusted_client,
greenlight.setting;

drop sequence if exists greenlight.last_owner;

drop type if exists
public.plan_approval,
public.plan_proposal,
public.build_claim,
public.notification_claim,
public.plan_team,
public.display_name;

-- The other functions go after the tables, whose triggers and constraints call them.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid
        from pg_catalog.pg_proc as p
        where p.pronamespace = to_regnamespace('greenlight')
    loop
        execute format('drop function %s', v_function);
    end loop;
end;
$$;

-- It is empty now, unless the project put something of its own there.
drop schema if exists greenlight;

-- The bucket stays, private: SQL can remove neither a bucket nor a document. It takes no more uploads, and the mark
-- tells a later install that it may use the bucket again.
update storage.buckets
set
    public = false,
    allowed_mime_types = array['x-greenlight/uninstalled']
where id = 'plans';

-- Do not leave documents without their plans by accident. And do not leave them open: now that our restrictive policies
-- are gone, a policy of the project for all of its buckets would let other users in. So look at the bucket as a user
-- without documents, and refuse if one can be seen.
do $$
declare
    v_keep_documents constant boolean := false;
    v_role text := current_setting('role');
    v_reader text;
begin
    if not v_keep_documents and exists (select from storage.objects where bucket_id = 'plans') then
        raise exception 'Greenlight cannot be removed: the bucket plans holds documents.'
            using
                errcode = 'object_in_use',
                detail = 'Nothing has been changed.',
                hint = 'Export what you need with "greenlight export". Then delete this migration''s file, write it again '
                'with "greenlight uninstall --keep-documents", and push.';
    end if;

    foreach v_reader in array array['anon', 'authenticated'] loop
        perform
            set_config('role', v_reader, true),
            set_config(
                'request.jwt.claims', jsonb_build_object('role', v_reader, 'sub', gen_random_uuid())::text, true
            );

        if exists (select from storage.objects where bucket_id = 'plans') then
            raise exception 'Greenlight cannot be removed: the role % could then read its documents.', v_reader
                using
                    errcode = 'object_in_use',
                    detail = 'Nothing has been changed. A policy of the project lets the role in, and only Greenlight''s '
                    'policies keep it out. It is one of: ' || (
                        select string_agg(format('%I', polname), ', ' order by polname)
                        from pg_catalog.pg_policy
                        where
                            polrelid = 'storage.objects'::regclass
                            and polpermissive
                            and polcmd in ('r', '*')
                    ),
                    hint = 'Let that policy name its buckets, or add to it: bucket_id <> ''plans''.';
        end if;
    end loop;

    perform
        set_config('role', v_role, true),
        set_config('request.jwt.claims', '', true);
end;
$$;

notify pgrst, 'reload schema';
