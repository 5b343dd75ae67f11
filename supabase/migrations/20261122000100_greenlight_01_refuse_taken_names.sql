-- Greenlight installs into an existing project. If any name that it is going to use is taken, stop here, before the
-- first change: nothing is ever shared, replaced or adopted.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

do $$
declare
    taken text;
begin
    select string_agg(name, ', ' order by name)
    into taken
    from (
        select 'schema greenlight' as name
        from pg_catalog.pg_namespace
        where nspname = 'greenlight'

        -- A type shares its name space with the row types of tables, so this finds tables, views and types.
        union all
        select 'public.' || typname
        from pg_catalog.pg_type
        where
            typnamespace = 'public'::regnamespace
            and typname in (
                'plan',
                'agent',
                'agent_event',
                'build',
                'plan_approval',
                'plan_proposal',
                'build_claim'
            )

        -- Indexes and sequences have no type.
        union all
        select 'public.' || relname
        from pg_catalog.pg_class
        where
            relnamespace = 'public'::regnamespace
            and relkind in ('i', 'I', 'S')
            and relname in (
                'plan',
                'plan_pkey',
                'plan_session_version_key',
                'plan_session_plan_key',
                'plan_owner_key',
                'plan_proposed_key',
                'plan_approved_key',
                'plan_document_id_idx',
                'plan_newest_idx',
                'plan_closed_idx',
                'agent',
                'agent_pkey',
                'agent_session_key',
                'agent_owner_key',
                'agent_by_status_idx',
                'agent_deleted_idx',
                'agent_event',
                'agent_event_pkey',
                'agent_event_agent_idx',
                'agent_event_plan_idx',
                'agent_event_id_seq',
                'build',
                'build_pkey',
                'build_open_key',
                'build_queue_idx',
                'build_last_attempt_idx',
                'build_agent_idx',
                'build_plan_idx',
                'plan_approval',
                'plan_proposal',
                'build_claim'
            )

        -- Any signature: the Data API could not tell two functions of one name apart.
        union all
        select distinct 'public.' || proname || '()'
        from pg_catalog.pg_proc
        where
            pronamespace = 'public'::regnamespace
            and proname in (
                'propose_plan',
                'approve_plan',
                'request_changes',
                'reject_plan',
                'withdraw_plan',
                'transition_agent',
                'delete_agent',
                'restore_agent',
                'deleted_agents',
                'claim_builds',
                'renew_build',
                'finish_build',
                'fail_build',
                'retry_build',
                'orphaned_documents',
                'purge_deleted_agents',
                'purge_closed_plans'
            )

        union all
        select 'storage policy ' || polname
        from pg_catalog.pg_policy
        where
            polrelid = 'storage.objects'::regclass
            and polname like 'greenlight\_%'

        -- A bucket outlives our tables: `supabase db reset` of a linked project leaves it, and so does our uninstall,
        -- which marks it. One that is exactly as 04 makes it, or marked, is ours.
        union all
        select 'bucket plans'
        from storage.buckets
        where
            (id = 'plans' or name = 'plans')
            and (
                id = name
                and (
                    allowed_mime_types = array['x-greenlight/uninstalled']
                    or (not public and file_size_limit = 1048576 and allowed_mime_types = array['text/markdown'])
                )
            ) is not true
    ) as names;

    if taken is not null then
        raise exception 'Greenlight cannot be installed: already taken: %', taken
            using
                errcode = 'duplicate_object',
                detail = 'Nothing has been changed.',
                hint = 'Rename or remove what is named above, then push again.';
    end if;
end;
$$;
