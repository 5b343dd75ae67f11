-- What is stored: every plan that was proposed or approved, the agents built from them, the builds, and the audit
-- log. Rules that a constraint can enforce are constraints here; those that need a trigger are in 06_triggers; the
-- functions, which alone write these tables, enforce the rest.
--
-- Checks are few and short, because Postgres parses and plans each of them again for each insert or update: about 10 µs
-- for 1,000 characters of its parsed form. `= any('{…}')` is `in (…)` at half the price, and a pattern without a count
-- is far cheaper than one with {64}.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Public is the API. Everything that is not API lives in this schema, which is not exposed.
create schema greenlight;
comment on schema greenlight is 'Greenlight''s own functions and settings. Not exposed: public holds the API.';

create table public.plan (
    id uuid not null default gen_random_uuid(),
    user_id uuid not null,
    session_id text not null,
    version integer not null,
    title varchar(500) not null,
    document_id uuid not null,
    document_path varchar(500) not null,
    document_sha256 text not null,
    document_url text not null,
    status varchar(50) not null default 'approved',
    proposed_by text,
    expires_at timestamptz,
    decided_at timestamptz,
    decided_aal text,
    comment text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,

    constraint plan_pkey primary key (id),

    -- Also the index behind plan_user_id_fkey, and the one that finds a session's newest version.
    constraint plan_session_version_key unique (user_id, session_id, version),

    -- The target of agent_plan_fkey, which ties an agent to a plan of its own user and session.
    constraint plan_session_plan_key unique (user_id, session_id, id),

    -- The target of agent_event_plan_fkey and build_plan_fkey, which tie a row to a plan of its own user.
    constraint plan_owner_key unique (id, user_id),

    constraint plan_user_id_fkey
    foreign key (user_id) references auth.users (id) on delete cascade,

    -- No role, the service role included, can delete a document that a plan refers to. Only a foreign key holds
    -- against a delete that is already under way: a policy decides on an older snapshot. (Not `restrict`: its
    -- error code differs from Postgres 18 on, and storage-api 1.70 knows 23503.)
    constraint plan_document_id_fkey
    foreign key (document_id) references storage.objects (id) on delete no action,

    constraint plan_session_id_check check (session_id ~ '^[A-Za-z0-9_-]+$' and octet_length(session_id) <= 128),
    constraint plan_version_check check (version >= 1),
    constraint plan_title_check check (title <> ''),
    constraint plan_document_sha256_check check (document_sha256 !~ '[^0-9a-f]' and octet_length(document_sha256) = 64),
    constraint plan_document_path_check check (
        document_path = user_id::text || '/' || session_id || '/' || document_sha256 || '.md'
    ),
    constraint plan_status_check check (
        status = any('{proposed,changes_requested,rejected,withdrawn,approved,superseded,archived}')
    ),

    -- A superseded plan was either approved before (it keeps the time of that) or never decided (null).
    constraint plan_decided_at_check check (status = 'superseded' or (status = 'proposed') = (decided_at is null)),

    -- These columns are set only with a decision.
    constraint plan_decision_check check (decided_at is not null or coalesce(decided_aal, comment) is null),
    constraint plan_comment_check check (char_length(comment) between 1 and 4000)
);

comment on table public.plan is
'One revision of a planning session''s document that was proposed or approved. Its contents never change; only '
'status, the decision (decided_at, decided_aal, comment), updated_at and deleted_at do. Written by functions only.';
comment on column public.plan.session_id is
'The planning session in which the document was refined. The client chooses this id.';
comment on column public.plan.version is
'The revision of the session''s document. Starts at 1; gaps are fine.';
comment on column public.plan.document_id is
'The stored document. It cannot be deleted while this row exists.';
comment on column public.plan.document_path is
'The object key in the bucket plans. Follows from user, session and hash; sign it to read the document.';
comment on column public.plan.document_sha256 is
'SHA-256 of the document''s bytes, 64 lower-case hex digits. On the direct path this is the owner''s claim: '
'verify it before building from the document.';
comment on column public.plan.document_url is
'A record of the signed URL that was given out. It expires; sign document_path to read the document.';
comment on column public.plan.status is
'proposed; changes_requested, rejected, withdrawn; approved; superseded (an approved plan by a newer approved '
'version, an undecided proposal by a newer version or by archiving); archived (its agent was archived).';
comment on column public.plan.proposed_by is
'user, service_role, or the id of the OAuth client that proposed it. Null: approved without a proposal.';
comment on column public.plan.expires_at is
'A proposal can be approved until this time. Null: no limit. Expiry is not a status.';
comment on column public.plan.decided_at is
'When it was approved, rejected, sent back or withdrawn. Null: undecided, or superseded while undecided.';
comment on column public.plan.decided_aal is
'The authenticator assurance level (aal claim) of the token that decided. Null for the service role.';
comment on column public.plan.comment is
'What the human wrote when rejecting the plan or requesting changes.';
comment on column public.plan.deleted_at is
'When the session''s agent was deleted, together with all plans of the session. Null while it is not deleted.';

create table public.agent (
    id uuid not null default gen_random_uuid(),
    user_id uuid not null,
    session_id text not null,
    plan_id uuid not null,
    name varchar(200),
    status varchar(50) not null default 'building',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,

    constraint agent_pkey primary key (id),

    -- One agent per planning session, for good. It includes plan_id so that this is also the index behind
    -- agent_plan_fkey, and behind agent_user_id_fkey.
    constraint agent_session_key unique (user_id, session_id) include (plan_id),

    -- The target of agent_event_agent_fkey and build_agent_fkey, which tie a row to its agent's user.
    constraint agent_owner_key unique (id, user_id),

    constraint agent_user_id_fkey
    foreign key (user_id) references auth.users (id) on delete cascade,

    -- Not cascade: a plan goes only after its agent has gone, and a purge deletes both explicitly. (Not restrict:
    -- it would refuse the deletion of a user, whose plans go before their agents in the same statement.)
    constraint agent_plan_fkey
    foreign key (user_id, session_id, plan_id) references public.plan (user_id, session_id, id) on delete no action,

    constraint agent_session_id_check check (session_id ~ '^[A-Za-z0-9_-]+$' and octet_length(session_id) <= 128),
    constraint agent_status_check check (status = any('{building,active,paused,archived,failed}'))
);

comment on table public.agent is
'What is built from a planning session: one agent per session and user, for good. Written by functions only.';
comment on column public.agent.session_id is
'The planning session that the agent is built from.';
comment on column public.agent.plan_id is
'The plan that the agent is built from now: the newest approved version of its session.';
comment on column public.agent.name is
'The first 200 characters of the plan''s title.';
comment on column public.agent.status is
'building, active, paused, failed (the builder gave up) or archived (final).';
comment on column public.agent.deleted_at is
'When the owner deleted it. Null while it is not deleted; a purge removes it for good after the retention time.';

create table public.agent_event (
    id bigint not null generated always as identity,
    user_id uuid not null,
    agent_id uuid not null,
    plan_id uuid not null,
    kind text not null,
    from_status text,
    to_status text not null,
    version integer not null,
    document_sha256 text not null,
    actor uuid,
    actor_role text not null,
    created_at timestamptz not null default clock_timestamp(),

    constraint agent_event_pkey primary key (id),

    -- Events are deleted with their agent and in no other way. The cascade from plan is for the deletion of a user,
    -- which reaches the plan first; keep_log refuses it while the agent exists.
    constraint agent_event_agent_fkey
    foreign key (agent_id, user_id) references public.agent (id, user_id) on delete cascade,

    constraint agent_event_plan_fkey
    foreign key (plan_id, user_id) references public.plan (id, user_id) on delete cascade,

    constraint agent_event_kind_check check (kind = any('{approved,revised,status_changed,deleted,restored}')),
    constraint agent_event_from_status_check check (from_status = any('{building,active,paused,archived,failed}')),
    constraint agent_event_to_status_check check (to_status = any('{building,active,paused,archived,failed}')),

    constraint agent_event_document_sha256_check check (octet_length(document_sha256) = 64),
    constraint agent_event_actor_check check (actor_role <> 'service_role' or actor is null)
);

comment on table public.agent_event is
'The audit log: one row for everything that happened to an agent, written in the transaction of the change. '
'Append-only.';
comment on column public.agent_event.id is
'Rises in true order per agent; created_at agrees with it.';
comment on column public.agent_event.plan_id is
'The plan that the agent was built from right after the event; version and document_sha256 are that plan''s.';
comment on column public.agent_event.kind is
'approved (the agent was created), revised (a newer version was approved), status_changed, deleted or restored.';
comment on column public.agent_event.from_status is
'The agent''s status before the event. Null for approved, because there was no agent before.';
comment on column public.agent_event.actor is
'auth.uid() of the caller. Null for the service role.';
comment on column public.agent_event.actor_role is
'The API role of the caller, or the database role if the change did not come through the API.';

create table public.build (
    id uuid not null default gen_random_uuid(),
    user_id uuid not null,
    agent_id uuid not null,
    plan_id uuid not null,
    status text not null default 'queued',
    attempt integer not null default 0,
    run_after timestamptz not null default now(),
    worker text,
    progress smallint,
    message text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,

    constraint build_pkey primary key (id),

    constraint build_agent_fkey
    foreign key (agent_id, user_id) references public.agent (id, user_id) on delete cascade,

    -- The cascade from plan is for the deletion of a user, as in agent_event.
    constraint build_plan_fkey
    foreign key (plan_id, user_id) references public.plan (id, user_id) on delete cascade,

    constraint build_status_check check (status = any('{queued,running,succeeded,failed,cancelled}')),
    constraint build_attempt_check check (attempt >= 0),
    constraint build_progress_check check (progress between 0 and 100),
    constraint build_message_check check (char_length(message) <= 500)
);

comment on table public.build is
'One piece of work for a builder: make this agent from this plan. An agent that is building and not deleted has '
'exactly one open (queued or running) build, of its current plan; any other agent has none.';
comment on column public.build.plan_id is
'The plan to build the agent from.';
comment on column public.build.status is
'queued, running, succeeded, failed or cancelled.';
comment on column public.build.attempt is
'How often the build was claimed. Rises with each claim; renew, finish and fail must name the current attempt.';
comment on column public.build.run_after is
'A queued build is not claimed before this time. Of a running build it is the end of the lease.';
comment on column public.build.worker is
'The name of the builder that claimed it last.';
comment on column public.build.progress is
'0 to 100, as the builder reported it. Null: nothing reported in this attempt.';
comment on column public.build.message is
'What the builder reported last. Of a cancelled build: why it was cancelled.';
comment on column public.build.started_at is
'When the current attempt began.';
comment on column public.build.finished_at is
'When the build succeeded, failed or was cancelled. Null while it is open.';

-- The clients of the OAuth server whose tokens count as the human's own: a first-party app that signs its people in
-- through it. Confidential clients only, because anyone who holds the user's token can obtain a public client's.
-- No API role can read or write this table; add a row as postgres, in the SQL editor or a migration.
create table greenlight.trusted_client (
    client_id text not null,

    constraint trusted_client_pkey primary key (client_id)
);
comment on table greenlight.trusted_client is
'OAuth client ids whose tokens count as the human''s own. Confidential first-party clients only.';

-- The plans that purge_closed_plans() may remove: never approved, and closed or going to expire, with the time of that.
-- If a session has an agent, its newest plan is not here, so that its number is not used again.
create view greenlight.closed_plan
with (security_invoker = true) as
select
    p.id,
    p.user_id,
    p.session_id,
    coalesce(p.decided_at, case p.status when 'proposed' then p.expires_at else p.updated_at end) as closed_at
from public.plan as p
where
    (p.decided_at is null or p.status in ('changes_requested', 'rejected', 'withdrawn'))
    and (
        not exists (
            select from public.agent as a
            where
                a.user_id = p.user_id
                and a.session_id = p.session_id
        )
        or exists (
            select from public.plan as newer
            where
                newer.user_id = p.user_id
                and newer.session_id = p.session_id
                and newer.version > p.version
        )
    );

-- The functions' results as types, so that the Data API returns one object and the generated types have its fields.
create type public.plan_approval as (
    plan_id uuid,
    agent_id uuid,
    agent_status text,
    version integer,
    created boolean
);
comment on type public.plan_approval is
'The answer of approve_plan(). created is false if the version had been approved before.';

create type public.plan_proposal as (
    plan_id uuid,
    version integer,
    status text,
    created boolean
);
comment on type public.plan_proposal is
'The answer of propose_plan(). created is false if the version was there before; status is its status now.';

create type public.build_claim as (
    build_id uuid,
    attempt integer,
    agent_id uuid,
    plan_id uuid,
    user_id uuid,
    session_id text,
    version integer,
    title text,
    document_path text,
    document_sha256 text,
    lease_expires_at timestamptz
);
comment on type public.build_claim is
'A build that claim_builds() handed out. Name build_id and attempt to renew, finish or fail it.';

-- Each index, beside the keys above, and the query that it serves:

-- At most one undecided proposal per session. Finds what waits for a user.
create unique index plan_proposed_key on public.plan (user_id, session_id) where status = 'proposed';

-- At most one approved plan per session.
create unique index plan_approved_key on public.plan (user_id, session_id) where status = 'approved';

-- Behind plan_document_id_fkey: storage looks here each time it deletes an object.
create index plan_document_id_idx on public.plan (document_id);

-- An owner's newest plans.
create index plan_newest_idx on public.plan (user_id, created_at desc) where deleted_at is null;

-- What purge_closed_plans() looks for; the expression and the condition are closed_plan's.
create index plan_closed_idx on public.plan (
    coalesce(decided_at, case status when 'proposed' then expires_at else updated_at end)
) where decided_at is null or status in ('changes_requested', 'rejected', 'withdrawn');

-- An owner's agents by status, newest first.
create index agent_by_status_idx on public.agent (user_id, status, created_at desc) where deleted_at is null;

-- What purge_deleted_agents() looks for. Contains deleted agents only.
create index agent_deleted_idx on public.agent (deleted_at) where deleted_at is not null;

-- An agent's audit log in order; behind agent_event_agent_fkey.
create index agent_event_agent_idx on public.agent_event (agent_id, user_id, id);

-- Behind agent_event_plan_fkey.
create index agent_event_plan_idx on public.agent_event (plan_id, user_id);

-- At most one open build per agent.
create unique index build_open_key on public.build (agent_id) where status in ('queued', 'running');

-- The queue: what claim_builds() looks for. Contains open builds only, however many have ended.
create index build_queue_idx on public.build (run_after) where status in ('queued', 'running');

-- Builds whose last attempt is running, for claim_builds() to fail when its lease has ended. Nearly empty.
create index build_last_attempt_idx on public.build (run_after) where status = 'running' and attempt >= 5;

-- An agent's builds; behind build_agent_fkey.
create index build_agent_idx on public.build (agent_id, user_id, created_at);

-- Behind build_plan_fkey.
create index build_plan_idx on public.build (plan_id, user_id);
