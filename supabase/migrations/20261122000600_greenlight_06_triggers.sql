-- What happens automatically with every change, and what no change may do. This applies to every role, superusers, too.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- The contents of a plan never change.
create trigger keep_plan
before update on public.plan
for each row
when (
    (
        old.id,
        old.user_id,
        old.session_id,
        old.version,
        old.title,
        old.document_id,
        old.document_path,
        old.document_sha256,
        old.document_url,
        old.proposed_by,
        old.expires_at,
        old.created_at
    ) is distinct from (
        new.id,
        new.user_id,
        new.session_id,
        new.version,
        new.title,
        new.document_id,
        new.document_path,
        new.document_sha256,
        new.document_url,
        new.proposed_by,
        new.expires_at,
        new.created_at
    )
)
execute function greenlight.refuse_rewrite();

-- A decision is final: a proposal is decided once, and an approved plan can only be superseded or archived. A proposal
-- that is superseded has no decided_at, so a superseded plan with one was approved before.
create trigger keep_decision
before update on public.plan
for each row
when (
    (
        old.status <> 'proposed'
        and (
            (old.decided_at, old.decided_aal, old.comment)
            is distinct from (new.decided_at, new.decided_aal, new.comment)
            or (
                old.status <> new.status
                and not (old.status = 'approved' and new.status in ('superseded', 'archived'))
            )
        )
    )
    or (old.status = 'proposed' and new.status = 'superseded' and new.decided_at is not null)
)
execute function greenlight.refuse_rewrite();

create trigger touch
before update on public.plan
for each row
execute function greenlight.touch();

create trigger touch
before update on public.agent
for each row
execute function greenlight.touch();

create trigger touch
before update on public.build
for each row
execute function greenlight.touch();

-- The one rule of builds: see the function.
create trigger keep_build
after insert or update on public.agent
for each row
execute function greenlight.keep_build();

create trigger record_event
after insert or update on public.agent
for each row
execute function greenlight.record_event();

create trigger keep_recorded
before update on public.agent_event
for each row
execute function greenlight.refuse_rewrite();

create trigger keep_log
before delete on public.agent_event
for each row
execute function greenlight.keep_log();

-- Makes the Data API read the new schema now, not at its next restart.
notify pgrst, 'reload schema';
