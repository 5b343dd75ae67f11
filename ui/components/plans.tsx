"use client";

import type { Plan } from "greenlight-client";
import { Inbox } from "lucide-react";
import Link from "next/link";
import type { ReactNode } from "react";
import { loadPlans, proposer, statusName } from "@/lib/plans";
import { loadClient } from "@/lib/supabase/lazy";
import { useWatch } from "@/lib/use-watch";
import { Quote } from "./quote";
import { Status } from "./status";
import { Time } from "./time";

type Plans = Awaited<ReturnType<typeof loadPlans>>;

/** The proposals that wait for the user, and the recent decisions. */
export function Plans({ initial }: { initial: Plans }) {
  const { value } = useWatch(initial, async () => loadPlans(await loadClient()));
  const all = [...value.waiting, ...value.decided];
  // The session tells plans of the same title apart.
  const sessionOf = ({ title, session_id }: Plan) =>
    all.some((other) => other.title === title && other.session_id !== session_id) && (
      <span className="muted">Session {session_id}</span>
    );
  return (
    <>
      <section className="plans" aria-labelledby="waiting">
        <h2 id="waiting">Waiting for you</h2>
        {value.waiting.length === 0 ? (
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
          <ul className="rows stacked">
            {value.waiting.map((plan) => (
              <Waiting key={plan.id} plan={plan} session={sessionOf(plan)} />
            ))}
          </ul>
        )}
      </section>
      {value.decided.length > 0 && (
        <section className="plans" aria-labelledby="decided">
          <h2 id="decided">Recent decisions</h2>
          <ul className="rows">
            {value.decided.map((plan) => (
              <Decided key={plan.id} plan={plan} session={sessionOf(plan)} />
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

interface RowProps {
  plan: Plan;
  session: ReactNode;
}

function Waiting({ plan, session }: RowProps) {
  return (
    <li>
      <Link href={`/build?session=${plan.session_id}`}>
        <strong>{plan.title}</strong>
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

function Decided({ plan, session }: RowProps) {
  return (
    <li>
      <Link href={`/build?session=${plan.session_id}`}>
        <strong>{plan.title}</strong>
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
