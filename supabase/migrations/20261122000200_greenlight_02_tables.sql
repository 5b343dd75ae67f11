-- What is stored: approved plans, the agents built from them, and the ledger of what happened to each agent.
-- What must never be true is impossible here, whoever writes.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Public is the API; whatever is not API lives here and is not exposed.
create schema greenlight;
comment on schema greenlight is 'Greenlight''s own functions. Not exposed: public holds the API.';

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
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,

    constraint plan_pkey primary key (id),

    -- Also the index behind plan_user_id_fkey and behind "which version is the newest".
    constraint plan_session_version_key unique (user_id, session_id, version),

    -- The target of agent_plan_fkey, which ties an agent to a plan of its own user and session.
    constraint plan_session_plan_key unique (user_id, session_id, id),

    constraint plan_user_id_fkey
    foreign key (user_id) references auth.users (id) on delete cascade,

    -- Nobody, the service role included, deletes a document that a plan refers to. Only a foreign key holds
    -- that against a delete which is already under way; a policy decides on an older snapshot. (Not restrict,
    -- whose error has another code from Postgres 18 on: storage knows 23503.)
    constraint plan_document_id_fkey
    foreign key (document_id) references storage.objects (id) on delete no action,

    constraint plan_session_id_check check (session_id ~ '^[A-Za-z0-9_-]{1,128}$'),
    constraint plan_version_check check (version >= 1),
    constraint plan_title_check check (title <> ''),
    constraint plan_document_sha256_check check (document_sha256 ~ '^[0-9a-f]{64}$'),
    constraint plan_document_path_check check (
        document_path = user_id::text || '/' || session_id || '/' || document_sha256 || '.md'
    ),
    constraint plan_status_check check (status in ('approved', 'superseded', 'archived'))
);

comment on table public.plan is
'One approved revision of a planning session''s document. Written by approve_plan() only, and never changed '
'afterwards but for status, updated_at and deleted_at.';
comment on column public.plan.session_id is
'The planning session in which the document was refined. The client''s id.';
comment on column public.plan.version is
'Which revision of the session''s document the user saw and approved. From 1; gaps are fine.';
comment on column public.plan.document_id is
'The stored document. While this row is there the object cannot be deleted.';
comment on column public.plan.document_path is
'The object key in the bucket plans. Follows from user, session and hash; sign it anew to read the document.';
comment on column public.plan.document_sha256 is
'SHA-256 of the document''s bytes, 64 lower-case hex digits. The owner''s claim where no service computed it: '
'whoever builds from the document verifies it.';
comment on column public.plan.document_url is
'A record of the signed URL that the approval gave out. It expires; readers sign document_path anew.';
comment on column public.plan.status is
'approved; superseded (a newer version was approved); archived (its agent was archived while built from it).';
comment on column public.plan.deleted_at is
'When the session''s agent was deleted, together with all plans of the session. Null while it is there.';

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

    -- One agent per planning session, for good. plan_id rides along so that this is also the index behind
    -- agent_plan_fkey, and behind agent_user_id_fkey.
    constraint agent_session_key unique (user_id, session_id) include (plan_id),

    -- The target of agent_event_agent_fkey, which ties an event to its agent's user.
    constraint agent_owner_key unique (id, user_id),

    constraint agent_user_id_fkey
    foreign key (user_id) references auth.users (id) on delete cascade,

    -- Not cascade: a plan goes only after its agent has gone, and a purge says so explicitly. (Not restrict
    -- either, which would refuse while the deletion of a user is still on its way from plan to agent.)
    constraint agent_plan_fkey
    foreign key (user_id, session_id, plan_id) references public.plan (user_id, session_id, id) on delete no action,

    constraint agent_session_id_check check (session_id ~ '^[A-Za-z0-9_-]{1,128}$'),
    constraint agent_status_check check (status in ('building', 'active', 'paused', 'archived'))
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
'building, active, paused or archived. greenlight.may_transition() holds the allowed changes.';
comment on column public.agent.deleted_at is
'When the owner deleted it. Null while it is there; a purge removes it for good after the retention time.';

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

    -- Events go with their agent and in no other way. The cascade from plan is for the deletion of a user, which
    -- may come by the plan first; keep_ledger stops it while the agent is there.
    constraint agent_event_agent_fkey
    foreign key (agent_id, user_id) references public.agent (id, user_id) on delete cascade,

    constraint agent_event_plan_id_fkey
    foreign key (plan_id) references public.plan (id) on delete cascade,

    constraint agent_event_kind_check check (
        kind in ('approved', 'revised', 'status_changed', 'deleted', 'restored')
    )
);

comment on table public.agent_event is
'The ledger: one row for everything that happened to an agent, written in the transaction of the change. Append-only.';
comment on column public.agent_event.id is
'Rises in true order per agent; created_at agrees with it.';
comment on column public.agent_event.plan_id is
'The plan that the agent was built from right after the event; version and document_sha256 are that plan''s.';
comment on column public.agent_event.kind is
'approved (the agent was made), revised (a newer version was approved), status_changed, deleted or restored.';
comment on column public.agent_event.from_status is
'The agent''s status before the event. Null for approved, before which there was no agent.';
comment on column public.agent_event.actor is
'auth.uid() of whoever did it. Null for the service role.';
comment on column public.agent_event.actor_role is
'The API role of whoever did it, or the database role where no API was involved.';

-- What approve_plan() answers. A type of its own so that the Data API answers one object, and so that the
-- generated types name its fields.
create type public.plan_approval as (
    plan_id uuid,
    agent_id uuid,
    agent_status text,
    version integer,
    created boolean
);
comment on type public.plan_approval is
'The answer of approve_plan(). created is false for a replay of an approval that was made before.';

-- Every index earns its place here, or goes. Beside the keys above:

-- Behind plan_document_id_fkey: storage looks here each time it deletes an object.
create index plan_document_id_idx on public.plan (document_id);

-- An owner's newest plans.
create index plan_newest_idx on public.plan (user_id, created_at desc) where deleted_at is null;

-- An owner's agents by status, newest first.
create index agent_by_status_idx on public.agent (user_id, status, created_at desc) where deleted_at is null;

-- The builder's list of what is waiting to be built, longest waiting first.
create index agent_building_idx on public.agent (updated_at) where status = 'building';

-- What a purge looks for. Holds nothing but the deleted.
create index agent_deleted_idx on public.agent (deleted_at) where deleted_at is not null;

-- An agent's ledger in order; behind agent_event_agent_fkey.
create index agent_event_ledger_idx on public.agent_event (agent_id, user_id, id);

-- Behind agent_event_plan_id_fkey: a purge of a plan looks here.
create index agent_event_plan_id_idx on public.agent_event (plan_id);
