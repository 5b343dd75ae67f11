import type { AgentEvent, Plan } from "greenlight-client";
import { proposer, wasApproved } from "@/lib/plans";
import { Quote } from "./quote";
import { Time } from "./time";

interface Entry {
  key: string;
  at: string;
  kind: string;
  what: string;
  who: string;
  comment?: string | null;
}

const DECISIONS: Partial<Record<Plan["status"], string>> = {
  changes_requested: "sent back",
  rejected: "rejected",
  withdrawn: "withdrawn",
};

/** What happened to an agent and to the proposals of its session, newest first. */
export function Timeline({ events, plans }: { events: AgentEvent[]; plans: Plan[] }) {
  const entries = [...events.map(ofEvent), ...plans.flatMap(ofPlan)];
  // Both lists are in order already, and the sort keeps that order for entries of the same moment.
  entries.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  return (
    <ol className="timeline">
      {entries.map(({ key, at, kind, what, who, comment }) => (
        <li key={key} data-kind={kind}>
          <span className="timeline-what">{what}</span>
          <span className="timeline-who">
            {who}, <Time at={at} />
          </span>
          {comment && <Quote label="Comment:">{comment}</Quote>}
        </li>
      ))}
    </ol>
  );
}

function ofEvent({ id, kind, version, to_status, actor, created_at }: AgentEvent): Entry {
  return {
    key: `event ${id}`,
    at: created_at,
    kind: kind === "status_changed" ? to_status : kind,
    what: eventText(kind, version, to_status),
    who: actor === null ? "the builder" : "you",
  };
}

function eventText(kind: string, version: number, status: string): string {
  switch (kind) {
    case "approved":
      return `Version ${version} approved`;
    case "revised":
      return `Version ${version} approved, building again`;
    case "deleted":
      return "Deleted";
    case "restored":
      return "Restored";
    default:
      return `Now ${status}`;
  }
}

/** A proposal, and the decision on it. Approvals are events of the agent already. */
function ofPlan(plan: Plan): Entry[] {
  if (plan.proposed_by === null) return [];
  const entries: Entry[] = [];
  const decision = DECISIONS[plan.status];
  if (decision && plan.decided_at !== null)
    entries.push({
      key: `decision ${plan.id}`,
      at: plan.decided_at,
      kind: plan.status,
      what: `Version ${plan.version} ${decision}`,
      who: plan.status === "withdrawn" ? "the planner" : "you",
      comment: plan.comment,
    });
  if (plan.status === "superseded" && !wasApproved(plan))
    entries.push({
      key: `replaced ${plan.id}`,
      at: plan.updated_at,
      kind: plan.status,
      what: `Version ${plan.version} replaced before it was decided`,
      who: "by a newer version",
    });
  entries.push({
    key: `proposal ${plan.id}`,
    at: plan.created_at,
    kind: "proposed",
    what: `Version ${plan.version} proposed`,
    who: proposer(plan.proposed_by),
  });
  return entries;
}
