"use client";

import type { Plan } from "greenlight-client";
import { Inbox } from "lucide-react";
import Link from "next/link";
import type { ReactNode } from "react";
import { loadPlans, PLANS_PAGE_SIZE, proposer, statusName, type PlansPages } from "@/lib/plans";
import { loadClient } from "@/lib/greenlight/load-client";
import { useWatch } from "@/hooks/use-watch";
import { AskAgain } from "./ask-again";
import { Pager } from "./pager";
import { Quote } from "@/components/greenlight/quote";
import { PlainText } from "@/components/greenlight/plain-text";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";

type Plans = Awaited<ReturnType<typeof loadPlans>>;

interface Props {
  pages: PlansPages;
  initial: Plans;
}

/** The proposals that wait for the user, those that expired before a decision, and the decisions. */
export function Plans({ pages, initial }: Props) {
  const { value, reload } = useWatch(initial, async () => loadPlans(await loadClient(), pages));
  const all = Object.values(value).flatMap(({ plans }) => plans);
  // The session tells plans of the same title apart.
  const sessionOf = ({ title, session_id }: Plan) =>
    all.some((other) => other.title === title && other.session_id !== session_id) && (
      <span className="muted">Session {session_id}</span>
    );
  const pager = (list: keyof PlansPages, label: string) => (
    <Pager
      label={label}
      page={pages[list]}
      pageSize={PLANS_PAGE_SIZE}
      shown={value[list].plans.length}
      more={value[list].count > pages[list] * PLANS_PAGE_SIZE}
      count={value[list].count}
      href={(page) => addressOf({ ...pages, [list]: page }, list)}
    />
  );
  return (
    <>
      <section className="plans" aria-labelledby="waiting">
        <h2 id="waiting">Waiting for you</h2>
        {value.waiting.count === 0 ? (
          <div className="empty">
            <Inbox aria-hidden />
            <h3>Nothing is waiting for you</h3>
            <p>
              When a planner proposes a plan, it appears here. You can then approve it, request changes or
              reject it. You can also open a plan of your own.
            </p>
            <Link className="button" href="/build">
              Open a plan of your own
            </Link>
          </div>
        ) : (
          <Rows className="rows stacked" plans={value.waiting.plans}>
            {(plan) => <Waiting key={plan.id} plan={plan} session={sessionOf(plan)} />}
          </Rows>
        )}
        {pager("waiting", "Pages of what waits for you")}
      </section>
      {value.expired.count > 0 && (
        <section className="plans" aria-labelledby="expired">
          <h2 id="expired">Expired</h2>
          <Rows className="rows stacked" plans={value.expired.plans}>
            {(plan) => <Expired key={plan.id} plan={plan} session={sessionOf(plan)} onAsked={reload} />}
          </Rows>
          {pager("expired", "Pages of what expired")}
        </section>
      )}
      {value.decided.count > 0 && (
        <section className="plans" aria-labelledby="decided">
          <h2 id="decided">Recent decisions</h2>
          <Rows className="rows" plans={value.decided.plans}>
            {(plan) => <Decided key={plan.id} plan={plan} session={sessionOf(plan)} />}
          </Rows>
          {pager("decided", "Pages of decisions")}
        </section>
      )}
    </>
  );
}

/** The address of these pages, at the list whose page changes. */
function addressOf(pages: PlansPages, list: keyof PlansPages): string {
  const query = new URLSearchParams(
    Object.entries(pages).flatMap(([name, page]) => (page > 1 ? [[name, String(page)]] : [])),
  );
  return `/plans${query.size > 0 ? `?${query.toString()}` : ""}#${list}`;
}

interface RowsProps {
  className: string;
  plans: Plan[];
  children: (plan: Plan) => ReactNode;
}

function Rows({ className, plans, children }: RowsProps) {
  if (plans.length === 0) return <p className="empty-note">There are no more plans.</p>;
  return <ul className={className}>{plans.map(children)}</ul>;
}

interface RowProps {
  plan: Plan;
  session: ReactNode;
}

function Waiting({ plan, session }: RowProps) {
  return (
    <li>
      <Link href={`/build?session=${plan.session_id}`}>
        <strong>
          <PlainText>{plan.title}</PlainText>
        </strong>
        <span className="rows-facts">
          <span className="muted">Version {plan.version}</span>
          {session}
          <span className="muted">
            by {proposer(plan.proposed_by ?? "user")}, <Time at={plan.created_at} />
          </span>
          {plan.expires_at && (
            <span className="muted">
              expires <Time at={plan.expires_at} />
            </span>
          )}
        </span>
      </Link>
    </li>
  );
}

function Expired({ plan, session, onAsked }: RowProps & { onAsked: () => Promise<unknown> }) {
  return (
    <li>
      <Link href={`/build?session=${plan.session_id}`}>
        <strong>
          <PlainText>{plan.title}</PlainText>
        </strong>
        <span className="rows-facts">
          <span className="muted">Version {plan.version}</span>
          {session}
          <span className="muted">
            by {proposer(plan.proposed_by ?? "user")}, expired <Time at={plan.expires_at ?? ""} />
          </span>
        </span>
      </Link>
      <AskAgain plan={plan} onAsked={onAsked} />
    </li>
  );
}

function Decided({ plan, session }: RowProps) {
  return (
    <li>
      <Link href={`/build?session=${plan.session_id}`}>
        <strong>
          <PlainText>{plan.title}</PlainText>
        </strong>
        <span className="rows-facts">
          <Status status={plan.status}>{statusName(plan.status)}</Status>
          <span className="muted">Version {plan.version}</span>
          {session}
          <span className="muted">
            <Time at={plan.decided_at ?? plan.updated_at} />
          </span>
        </span>
        {plan.comment && <Quote label="Your comment:">{plan.comment}</Quote>}
      </Link>
    </li>
  );
}
