-- What the adopter decides: one row of settings. And through which client a plan was decided.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Before anything has changed: the names that this migration and those after it need.
do $$
declare
    v_taken text;
begin
    select string_agg(
        distinct case when names.kind like 'storage%' then names.kind || ' ' else 'public.' end || names.name, ', '
    )
    into v_taken
    from (
        select 'relation' as kind, relname as name
        from pg_catalog.pg_class
        where relnamespace = 'public'::regnamespace

        union all
        select 'type', typname
        from pg_catalog.pg_type
        where
            typnamespace = 'public'::regnamespace
            and typname !~ '^_'

        union all
        select distinct 'function', proname
        from pg_catalog.pg_proc
        where pronamespace = 'public'::regnamespace

        union all
        select 'storage policy', polname
        from pg_catalog.pg_policy
        where polrelid = 'storage.objects'::regclass

        union all
        select distinct 'storage trigger', tgname
        from pg_catalog.pg_trigger
        where
            tgrelid in ('storage.objects'::regclass, 'storage.buckets'::regclass)
            and not tgisinternal
    ) as names
    where
        (names.kind, names.name) in (
            ('function', 'claim_notifications'),
            ('function', 'display_names'),
            ('function', 'fail_notification'),
            ('function', 'finish_notification'),
            ('function', 'forget_subscriber'),
            ('function', 'installation'),
            ('function', 'latest_changes'),
            ('function', 'plan_teams'),
            ('function', 'purge_build_logs'),
            ('function', 'purge_notifications'),
            ('function', 'stop_build'),
            ('relation', 'agent_event_log_idx'),
            ('relation', 'agent_event_owner_idx'),
            ('relation', 'agent_event_team_idx'),
            ('relation', 'agent_newest_idx'),
            ('relation', 'agent_session_idx'),
            ('relation', 'agent_team_by_status_idx'),
            ('relation', 'agent_team_deleted_idx'),
            ('relation', 'agent_team_idx'),
            ('relation', 'build_log'),
            ('relation', 'build_log_owner_idx'),
            ('relation', 'build_log_pkey'),
            ('relation', 'build_log_team_idx'),
            ('relation', 'build_log_updated_idx'),
            ('relation', 'build_owner_idx'),
            ('relation', 'build_team_idx'),
            ('relation', 'build_turn_idx'),
            ('relation', 'display_name'),
            ('relation', 'notification_claim'),
            ('relation', 'plan_decided_idx'),
            ('relation', 'plan_expiring_idx'),
            ('relation', 'plan_session_idx'),
            ('relation', 'plan_team'),
            ('relation', 'plan_team_by_status_idx'),
            ('relation', 'plan_team_idx'),
            ('relation', 'plan_waiting_idx'),
            ('storage policy', 'greenlight_delete_human'),
            ('storage policy', 'greenlight_delete_own_only'),
            ('storage policy', 'greenlight_insert_own_only'),
            ('storage policy', 'greenlight_select_readable'),
            ('storage policy', 'greenlight_select_signed_in'),
            ('storage trigger', 'greenlight_keep_bucket'),
            ('storage trigger', 'greenlight_keep_document'),
            ('storage trigger', 'greenlight_limit_document'),
            ('type', 'build_log'),
            ('type', 'display_name'),
            ('type', 'notification_claim'),
            ('type', 'plan_team')
        );

    if v_taken is not null then
        raise exception 'Greenlight cannot be upgraded: already taken: %', v_taken
            using
                errcode = 'duplicate_object',
                detail = 'Nothing has been changed.',
                hint = 'Rename or remove what is named above, then push again.';
    end if;
end;
$$;

-- No API role can read or write it; change it as postgres, in the SQL editor or a migration:
-- update greenlight.setting set anonymous_may_decide = true;
create table greenlight.setting (
    only_row boolean not null default true,
    anonymous_may_decide boolean not null default false,
    require_session boolean not null default false,

    constraint setting_pkey primary key (only_row),
    constraint setting_only_row_check check (only_row)
);

comment on table greenlight.setting is
'What the project decides. Exactly one row, which no API role can read or write: update it as postgres. An upgrade of '
'Greenlight never resets it.';
comment on column greenlight.setting.anonymous_may_decide is
'Whether anonymous users (is_anonymous in the token) may decide as humans.';
comment on column greenlight.setting.require_session is
'Whether a decision needs a token whose session is in auth.sessions. For projects whose token hook drops client_id: '
'an OAuth client that signs out removes the session that tells it apart. Decisions then end with the sign-out.';

revoke all on table greenlight.setting from public, anon, authenticated, service_role;

insert into greenlight.setting default values;

-- The row is not deleted; a dump is restored over it.
create function greenlight.keep_setting()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if tg_op = 'INSERT' then
        delete from greenlight.setting;
        return new;
    end if;

    raise exception 'greenlight.setting has exactly one row: update it'
        using errcode = 'insufficient_privilege';
end;
$$;
revoke all on function greenlight.keep_setting from public, anon, authenticated, service_role;

create trigger keep_setting
before delete or truncate on greenlight.setting
for each statement
execute function greenlight.keep_setting();

create trigger restore_setting
before insert on greenlight.setting
for each row
execute function greenlight.keep_setting();

alter table greenlight.setting enable replica trigger restore_setting;

-- decided_via, with every decision from now on. Null for those before.
alter table public.plan add column decided_via text;
comment on column public.plan.decided_via is
'Through whom it was decided: user, service_role, or the id of the OAuth client, as in proposed_by. Null while it is '
'undecided, and for decisions before version 0.3.';
comment on column public.plan.document_url is
'A record of the signed URL that was given out. It expires; sign document_path to read the document. Do not open it: '
'the planner chose it, and it may name any host.';
comment on table public.plan is
'One revision of a planning session''s document that was proposed or approved. Its contents never change; only '
'status, the decision (decided_at, decided_aal, decided_via, comment), updated_at and deleted_at do. Written by '
'functions only.';

-- These columns are set only with a decision. (The lock is held while the rows are checked: 0.2 s for a million.)
-- squawk-ignore ban-drop-constraint
alter table public.plan drop constraint plan_decision_check;
alter table public.plan add constraint plan_decision_check
check (decided_at is not null or coalesce(decided_aal, decided_via, comment) is null) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table public.plan validate constraint plan_decision_check;

create or replace trigger keep_decision
before update on public.plan
for each row
when (
    (
        old.status <> 'proposed'
        and (
            (old.decided_at, old.decided_aal, old.decided_via, old.comment)
            is distinct from (new.decided_at, new.decided_aal, new.decided_via, new.comment)
            or (
                old.status <> new.status
                and not (old.status = 'approved' and new.status in ('superseded', 'archived'))
            )
        )
    )
    or (old.status = 'proposed' and new.status = 'superseded' and new.decided_at is not null)
)
execute function greenlight.refuse_rewrite();
