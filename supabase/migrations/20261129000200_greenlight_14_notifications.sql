-- Notifications: an outbox for each subscriber, filled in the transaction of what happened.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- By hand: statements for tables.

-- All locks at once, as in 08.
do $$
begin
    lock table greenlight.setting, public.plan, public.agent in share update exclusive mode;

    for v_try in 1..20 loop
        begin
            set local lock_timeout = '200ms';
            lock table auth.users in share row exclusive mode;
            lock table greenlight.setting, public.plan, public.agent in access exclusive mode;
            exit;
        exception
            when lock_not_available then
                if v_try = 20 then
                    raise;
                end if;

                perform pg_sleep(0.1);
        end;
    end loop;
end;
$$;

set local lock_timeout = '5s';

-- A null or a step of a century has no place among them, and 100 years from now is a time that Postgres has.
alter table greenlight.setting add column remind_after interval[] not null default '{}';
-- squawk-ignore constraint-missing-not-valid
alter table greenlight.setting add constraint setting_remind_after_check
check (('0'::interval < all(remind_after) and '100 years'::interval > all(remind_after)) is true);

comment on column greenlight.setting.remind_after is
'After how long a proposal that waits is brought to mind again, for example {1 day, 3 days}.';

create table greenlight.subscriber (
    id bigint not null generated always as identity,
    name text not null,
    claimed_at timestamptz not null,
    made_until timestamptz not null,
    made_plan_id uuid not null,

    constraint subscriber_pkey primary key (id),
    constraint subscriber_name_key unique (name),
    constraint subscriber_name_check check (name ~ '^[a-z0-9_-]{1,40}$')
);

comment on table greenlight.subscriber is
'Who gets notifications: one row for each name that claim_notifications() was called with.';
comment on column greenlight.subscriber.id is
'New with each subscription, so that what an earlier one of the same name left is not handed out.';
comment on column greenlight.subscriber.claimed_at is
'When it claimed last. A purge forgets those that have not claimed for long.';
comment on column greenlight.subscriber.made_until is
'Up to which moment reminders and expiry are made; of plans with that same moment, up to made_plan_id.';

create table greenlight.notification (
    id bigint not null generated always as identity,
    subscriber_id bigint not null,
    event_id uuid not null,
    kind text not null,
    occurred_at timestamptz not null,
    user_id uuid not null,
    data jsonb not null,
    status text not null default 'waiting',
    attempt integer not null default 0,
    run_after timestamptz not null,
    message text,
    created_at timestamptz not null default clock_timestamp(),

    constraint notification_pkey primary key (id),

    -- There is no foreign key to the subscriber: its check would wait for a forget_subscriber(), and then refuse the
    -- proposal or approval that writes the row. What is left without a subscriber is purged.
    constraint notification_user_id_fkey
    foreign key (user_id) references auth.users (id) on delete cascade,

    constraint notification_status_check check (status = any('{waiting,leased,failed}')),
    constraint notification_attempt_check check (attempt between 0 and 12),
    constraint notification_message_check check (char_length(message) <= 500)
);

comment on table greenlight.notification is
'The outbox: one row for each event and subscriber until it is delivered. See docs/notify.md.';
comment on column greenlight.notification.event_id is
'The same for all subscribers.';
comment on column greenlight.notification.status is
'waiting, leased (handed out until run_after), or failed, which is not handed out again.';
comment on column greenlight.notification.attempt is
'How often it was handed out, at most 12 times. finish and fail must name the current attempt.';
comment on column greenlight.notification.message is
'Why it failed last.';

-- What claim_notifications() looks for.
create index notification_due_idx on greenlight.notification (subscriber_id, run_after, id)
where status <> 'failed' and attempt < 12;

-- The deletion of a user.
create index notification_user_idx on greenlight.notification (user_id);

revoke all on table greenlight.subscriber, greenlight.notification from public, anon, authenticated, service_role;
revoke all on sequence greenlight.subscriber_id_seq, greenlight.notification_id_seq
from public, anon, authenticated, service_role;

create type public.notification_claim as (
    notification_id bigint,
    attempt integer,
    event_id uuid,
    kind text,
    occurred_at timestamptz,
    user_id uuid,
    email text,
    approver_emails text [],
    data jsonb
);
comment on type public.notification_claim is
'A notification that claim_notifications() handed out. Name notification_id and attempt to finish or fail it.';

-- Proposals that expire, and those of which to remind: a claim of notifications looks for them.
create index plan_expiring_idx on public.plan (expires_at)
where status = 'proposed' and deleted_at is null and expires_at is not null;
create index plan_waiting_idx on public.plan (created_at) where status = 'proposed' and deleted_at is null;

-- The project replaces this one, so it is not in functions.sql, and what is there already stays.
do $$
begin
    if to_regprocedure('greenlight.approver_emails(uuid)') is null then
        create function greenlight.approver_emails(team_id uuid)
        returns setof text
        language sql
        stable
        security definer
        set search_path = ''
        as 'select null::text where false';
        comment on function greenlight.approver_emails is
        'The project replaces this: the addresses of those who may decide on the plans of this team. Claims of '
        'notifications call it as the owner of Greenlight, where row level security does not apply.';
        revoke all on function greenlight.approver_emails from public, anon, authenticated, service_role;
    end if;
end;
$$;

-- Written by `make migration` from supabase/functions.sql.

-- Writes an event of a plan for this subscriber, or for all if it is null; not if the plan is gone. The caller has
-- locked the user. data is the plan as it is now; message is the planner's, or the builder's if it is of the agent.
-- (to_jsonb() for columns that a later migration adds.)
create or replace function greenlight.write_notification(
    subscriber_id bigint, event_id uuid, kind text, occurred_at timestamptz, plan_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    insert into greenlight.notification (subscriber_id, event_id, kind, occurred_at, user_id, data, run_after)
    select
        s.id,
        write_notification.event_id,
        write_notification.kind,
        write_notification.occurred_at,
        p.user_id,
        jsonb_build_object(
            'plan_id', p.id,
            'session_id', p.session_id,
            'version', p.version,
            'title', p.title,
            'status', p.status,
            'team_id', later.columns -> 'team_id',
            'proposed_by', p.proposed_by,
            'decided_by', later.columns -> 'decided_by',
            'comment', p.comment,
            'agent_id', a.id,
            'agent_status', a.status,
            'build_id', b.id,
            'message', case when write_notification.kind like 'agent.%' then b.message else p.message end,
            'result', b.result
        ),
        write_notification.occurred_at
    from public.plan as p
    cross join lateral (select to_jsonb(p) as columns offset 0) as later
    left join public.agent as a
        on
            p.user_id = a.user_id
            and p.session_id = a.session_id
    -- The open build, or the one that ended last.
    left join lateral (
        select
            newest.id,
            newest.message,
            newest.result
        from public.build as newest
        where
            newest.plan_id = p.id
            and newest.user_id = p.user_id
        order by newest.finished_at desc nulls first
        limit 1
    ) as b on true
    inner join greenlight.subscriber as s on coalesce(write_notification.subscriber_id, s.id) = s.id
    where p.id = write_notification.plan_id;
end;
$$;
revoke all on function greenlight.write_notification from public, anon, authenticated, service_role;

-- A deferred trigger runs as the API role of the call, so this one runs as its owner.
create or replace function greenlight.notify()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if not exists (select from greenlight.subscriber) then
        return null;
    end if;

    if tg_table_name = 'plan' then
        perform greenlight.write_notification(
            null, gen_random_uuid(), 'plan.' || new.status, coalesce(new.decided_at, new.created_at), new.id
        );
    else
        perform greenlight.write_notification(
            null, gen_random_uuid(), 'agent.' || new.status, new.updated_at, new.plan_id
        );
    end if;

    return null;
end;
$$;
revoke all on function greenlight.notify from public, anon, authenticated, service_role;

-- Makes the reminders and expiries of a subscriber that are due, at most 1,000, in the order of their moments, and
-- remembers up to where. Another claim that is at it, or a lock on a plan or its user, leaves the rest to a later one.
create or replace function greenlight.make_notifications(subscriber_id bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_subscriber greenlight.subscriber;
    v_due record;
begin
    select *
    into v_subscriber
    from greenlight.subscriber as s
    where s.id = make_notifications.subscriber_id
    for no key update skip locked;

    if not found then
        return;
    end if;

    for v_due in
        select
            'plan.expired' as kind,
            null::interval as after,
            p.expires_at as moment,
            p.id
        from public.plan as p
        where
            p.status = 'proposed'
            and p.deleted_at is null
            and p.expires_at between v_subscriber.made_until and v_now
            and (p.expires_at, p.id) > (v_subscriber.made_until, v_subscriber.made_plan_id)

        union all
        select
            'plan.reminder',
            step.after,
            p.created_at + step.after,
            p.id
        from (
            -- Of several steps that are over, only the newest: a step lasts until the next one. In seconds, because
            -- adding a day or a month and taking it away again may end at another time.
            select
                steps.after,
                lead(steps.after) over (order by steps.after) as next
            from (
                select distinct make_interval(secs => extract(epoch from r)::double precision) as after
                from greenlight.setting as s, unnest(s.remind_after) as r
            ) as steps
        ) as step
        cross join lateral (
            select
                waiting.id,
                waiting.created_at
            from public.plan as waiting
            where
                waiting.status = 'proposed'
                and waiting.deleted_at is null
                and waiting.created_at between v_subscriber.made_until - step.after and v_now - step.after
                and (waiting.created_at > v_now - step.next) is not false
                and (waiting.expires_at > v_now) is not false
            -- So that the index is searched for each step, instead of all proposals for all of them.
            offset 0
        ) as p
        where (p.created_at + step.after, p.id) > (v_subscriber.made_until, v_subscriber.made_plan_id)
        order by moment, id
        limit 1000
    loop
        perform
        from public.plan as p
        inner join auth.users as u on p.user_id = u.id
        where
            p.id = v_due.id
            and p.status = 'proposed'
            and p.deleted_at is null
        for key share of u skip locked
        for share of p skip locked;

        if found then
            -- The same id for each subscriber that makes this. The 8s make it a UUID of version 8 (RFC 9562).
            perform greenlight.write_notification(
                v_subscriber.id,
                overlay(
                    overlay(
                        md5(concat_ws(' ', v_due.id, v_due.kind, extract(epoch from v_due.after))) placing '8' from 13
                    )
                    placing '8' from 17
                )::uuid,
                v_due.kind,
                v_due.moment,
                v_due.id
            );
        elsif exists (
            select from public.plan as p
            where
                p.id = v_due.id
                and p.status = 'proposed'
                and p.deleted_at is null
        ) then
            exit;
        end if;

        v_subscriber.made_until := v_due.moment;
        v_subscriber.made_plan_id := v_due.id;
    end loop;

    update greenlight.subscriber as s
    set
        claimed_at = v_now,
        made_until = v_subscriber.made_until,
        made_plan_id = v_subscriber.made_plan_id
    where s.id = v_subscriber.id;
end;
$$;
revoke all on function greenlight.make_notifications from public, anon, authenticated, service_role;

create or replace function greenlight.check_subscriber(subscriber text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if (subscriber ~ '^[a-z0-9_-]{1,40}$') is not true then
        perform greenlight.refuse('invalid_subscriber', 'subscriber does not match ^[a-z0-9_-]{1,40}$.');
    end if;
end;
$$;
revoke all on function greenlight.check_subscriber from public, anon, authenticated, service_role;

-- Never waits for a lock: it skips what another call has locked and leaves it to a later claim.
create or replace function greenlight.claim_notifications(
    subscriber text, max_notifications integer, lease_seconds integer
)
returns setof public.notification_claim
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_lease interval;
    v_subscriber_id bigint;
    v_now timestamptz;
    v_claim public.notification_claim;
begin
    perform greenlight.check_subscriber(subscriber);

    if (max_notifications between 1 and 100) is not true then
        perform greenlight.refuse('invalid_max_notifications', 'max_notifications is not from 1 to 100.');
    end if;

    v_lease := greenlight.check_lease(lease_seconds);

    select s.id
    into v_subscriber_id
    from greenlight.subscriber as s
    where s.name = claim_notifications.subscriber;

    -- A new one. If another claim is subscribing the same name at this moment, that one does it.
    if v_subscriber_id is null then
        if pg_try_advisory_xact_lock(hashtextextended('greenlight/subscriber/' || subscriber, 0)) then
            insert into greenlight.subscriber (name, claimed_at, made_until, made_plan_id)
            values (subscriber, clock_timestamp(), clock_timestamp(), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            on conflict on constraint subscriber_name_key do nothing;
        end if;

        return;
    end if;

    perform greenlight.make_notifications(v_subscriber_id);

    v_now := clock_timestamp();

    -- One at a time, for the same reason as in claim_builds().
    for v_number in 1..max_notifications loop
        update greenlight.notification as n
        set
            status = 'leased',
            attempt = n.attempt + 1,
            run_after = v_now + v_lease
        where
            n.id = (
                select due.id
                from greenlight.notification as due
                where
                    due.subscriber_id = v_subscriber_id
                    and due.status <> 'failed'
                    and due.attempt < 12
                    and due.run_after <= v_now
                order by due.run_after, due.id
                limit 1
                for no key update skip locked
            )
        returning
            n.id,
            n.attempt,
            n.event_id,
            n.kind,
            n.occurred_at,
            n.user_id,
            -- Not if it is unconfirmed, or a deleted user's, of whom Supabase Auth keeps a hash.
            (
                select nullif(u.email, '')
                from auth.users as u
                where
                    u.id = n.user_id
                    and u.email_confirmed_at is not null
                    and u.deleted_at is null
            ),
            (
                select array_agg(distinct approver.email order by approver.email)
                from greenlight.approver_emails((n.data ->> 'team_id')::uuid) as approver (email)
                where
                    n.data ->> 'team_id' is not null
                    and approver.email <> ''
            ),
            n.data
        into v_claim;

        exit when not found;
        return next v_claim;
    end loop;
end;
$$;
revoke all on function greenlight.claim_notifications from public, anon, authenticated, service_role;
grant execute on function greenlight.claim_notifications to service_role;

create or replace function public.claim_notifications(
    subscriber text, max_notifications integer default 10, lease_seconds integer default 60
)
returns setof public.notification_claim
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return query
    select * from greenlight.claim_notifications(subscriber, max_notifications, lease_seconds);
end;
$$;
comment on function public.claim_notifications is
'Hands out up to max_notifications that are due for this subscriber, each for lease_seconds. Pass notification_id and '
'attempt to finish or fail one; otherwise it is handed out again after the lease, up to twelve times. The first call '
'with a name subscribes it to what happens from then on. For the service role.';
revoke all on function public.claim_notifications from public, anon, authenticated, service_role;
grant execute on function public.claim_notifications to service_role;

create or replace function greenlight.finish_notification(notification_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    delete from greenlight.notification as n
    where
        n.id = notification_id
        and n.attempt = finish_notification.attempt
        and n.status = 'leased';

    return found;
end;
$$;
revoke all on function greenlight.finish_notification from public, anon, authenticated, service_role;
grant execute on function greenlight.finish_notification to service_role;

create or replace function public.finish_notification(notification_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.finish_notification(notification_id, attempt);
end;
$$;
comment on function public.finish_notification is
'Removes a notification that was delivered. Returns false, and does nothing, if this attempt is not the current one, '
'has failed, or the notification is gone. For the service role.';
revoke all on function public.finish_notification from public, anon, authenticated, service_role;
grant execute on function public.finish_notification to service_role;

create or replace function greenlight.fail_notification(
    notification_id bigint, attempt integer, message text, retry boolean, retry_seconds integer
)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if retry is null then
        perform greenlight.refuse('invalid_retry', 'retry is missing.');
    end if;

    if not (retry_seconds between 0 and 86400) then
        perform greenlight.refuse('invalid_retry_seconds', 'retry_seconds is not from 0 to 86400.');
    end if;

    update greenlight.notification as n
    set
        status = case when retry and n.attempt < 12 then 'waiting' else 'failed' end,
        run_after = clock_timestamp() + greatest(
            least(make_interval(secs => 10 * 4 ^ (n.attempt - 1)), interval '6 hours'),
            make_interval(secs => retry_seconds)
        ),
        message = coalesce(left(fail_notification.message, 500), n.message)
    where
        n.id = notification_id
        and n.attempt = fail_notification.attempt
        and n.status = 'leased';

    return found;
end;
$$;
revoke all on function greenlight.fail_notification from public, anon, authenticated, service_role;
grant execute on function greenlight.fail_notification to service_role;

create or replace function public.fail_notification(
    notification_id bigint,
    attempt integer,
    message text default null,
    retry boolean default true,
    retry_seconds integer default null
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.fail_notification(notification_id, attempt, message, retry, retry_seconds);
end;
$$;
comment on function public.fail_notification is
'Fails an attempt to deliver. With retry it is handed out again, after 10 s, 40 s, 160 s and so on, at most 6 hours, '
'or after retry_seconds if that is later; without it, or after the twelfth attempt, never. Returns as '
'finish_notification() does. For the service role.';
revoke all on function public.fail_notification from public, anon, authenticated, service_role;
grant execute on function public.fail_notification to service_role;

-- What is locked at this moment stays: without its subscriber it is not handed out, and a purge removes it.
create or replace function greenlight.forget_subscriber(subscriber text)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_subscriber_id bigint;
begin
    perform greenlight.check_subscriber(subscriber);

    delete from greenlight.subscriber as s
    where s.name = forget_subscriber.subscriber
    returning s.id into v_subscriber_id;

    delete from greenlight.notification as n
    where n.id in (
        select theirs.id
        from greenlight.notification as theirs
        where theirs.subscriber_id = v_subscriber_id
        for update skip locked
    );

    return v_subscriber_id is not null;
end;
$$;
revoke all on function greenlight.forget_subscriber from public, anon, authenticated, service_role;
grant execute on function greenlight.forget_subscriber to service_role;

create or replace function public.forget_subscriber(subscriber text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.forget_subscriber(subscriber);
end;
$$;
comment on function public.forget_subscriber is
'Removes a subscriber and its notifications. Returns false if there is none of this name. A claim with the name '
'subscribes it again. For the service role.';
revoke all on function public.forget_subscriber from public, anon, authenticated, service_role;
grant execute on function public.forget_subscriber to service_role;

-- Locked ones are skipped. A notification whose subscriber is gone goes too, however old it is.
create or replace function greenlight.purge_notifications(before timestamptz, batch_size integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_subscribers bigint;
    v_notifications bigint;
begin
    delete from greenlight.subscriber as s
    where s.id in (
        select idle.id
        from greenlight.subscriber as idle
        where idle.claimed_at < before
        for update skip locked
    );

    get diagnostics v_subscribers = row_count;

    delete from greenlight.notification as n
    where n.id in (
        select old.id
        from greenlight.notification as old
        where
            (
                old.created_at < before
                or not exists (select from greenlight.subscriber as s where s.id = old.subscriber_id)
            )
            and not (old.status = 'leased' and old.run_after > clock_timestamp())
        order by old.id
        limit least(greatest(batch_size, 1), 1000)
        for update skip locked
    );

    get diagnostics v_notifications = row_count;

    return v_subscribers + v_notifications;
end;
$$;
revoke all on function greenlight.purge_notifications from public, anon, authenticated, service_role;
grant execute on function greenlight.purge_notifications to service_role;

create or replace function public.purge_notifications(before timestamptz, batch_size integer default 100)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return greenlight.purge_notifications(before, batch_size);
end;
$$;
comment on function public.purge_notifications is
'Removes for good the notifications written before then that are not being delivered now, at most 1,000 at a time, '
'and the subscribers that have not claimed since then, with theirs. Returns how many rows went: call it until it '
'returns 0. For the service role.';
revoke all on function public.purge_notifications from public, anon, authenticated, service_role;
grant execute on function public.purge_notifications to service_role;

-- By hand, after the functions: triggers that call them.

-- At the end of the transaction, when the plan, its agent and its build are as they will be.
create constraint trigger notify_added
after insert on public.plan
deferrable initially deferred
for each row
when (new.status in ('proposed', 'approved'))
execute function greenlight.notify();

create constraint trigger notify_decided
after update on public.plan
deferrable initially deferred
for each row
when (old.status <> new.status and new.status in ('approved', 'changes_requested', 'rejected', 'withdrawn'))
execute function greenlight.notify();

create constraint trigger notify_built
after update on public.agent
deferrable initially deferred
for each row
when (old.status = 'building' and new.status in ('active', 'failed'))
execute function greenlight.notify();

notify pgrst, 'reload schema';
