-- What happens by itself with every change, and what no change may do, whoever makes it.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- An approved plan is what was approved, for good.
create trigger keep_approved
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
        new.created_at
    )
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

create trigger record_event
after insert or update on public.agent
for each row
execute function greenlight.record_event();

create trigger keep_recorded
before update on public.agent_event
for each row
execute function greenlight.refuse_rewrite();

create trigger keep_ledger
before delete on public.agent_event
for each row
execute function greenlight.keep_ledger();

-- The Data API learns of all this now, not at its next restart.
notify pgrst, 'reload schema';
