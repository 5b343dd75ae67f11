-- What the adopter decides: one row of settings. And through which client a plan was decided.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

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
