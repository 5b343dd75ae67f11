import { listEvents, type AgentEvent, type Plan } from "greenlight-client";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { decider, nameOf, type People } from "@/lib/greenlight/people";
import { proposer, wasApproved } from "@/lib/greenlight/plans";
import { loadClient } from "@/lib/greenlight/load-client";
import { visibleText } from "@/lib/greenlight/visible";
import { cn } from "@/lib/utils";
import { Quote } from "@/components/greenlight/quote";
import { Time } from "@/components/greenlight/time";
import { toast } from "./toasts";

// A light, as in the mark: what went well, and what did not.
const LIGHTS: Partial<Record<string, string>> = {
  approved: "bg-success",
  revised: "bg-success",
  active: "bg-success",
  deleted: "bg-destructive",
  failed: "bg-destructive",
  rejected: "bg-destructive",
};

interface Entry {
  key: string;
  at: string;
  kind: string;
  what: string;
  who: string;
  said?: Pick<Plan, "comment" | "comments"> | undefined;
}

const DECISIONS: Partial<Record<Plan["status"], string>> = {
  changes_requested: "sent back",
  rejected: "rejected",
  withdrawn: "withdrawn",
};

/** What happened to an agent and to the proposals of its session, newest first. */
export function Timeline({ events, plans, people }: { events: AgentEvent[]; plans: Plan[]; people: People }) {
  const { known, hasOlder, loadOlder } = useEvents(events);
  const entries = [
    ...known.map((event) => ofEvent(event, plans, people)),
    ...plans.flatMap((plan) => ofPlan(plan, people)),
  ];
  // Both lists are in order already, and the sort keeps that order for entries of the same moment.
  entries.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  // Of the time before the last event that is known, the events are missing.
  const end = hasOlder ? entries.findLastIndex(({ key }) => key.startsWith("event ")) + 1 : entries.length;
  return (
    <>
      <ol className="text-sm leading-snug">
        {entries.slice(0, end).map(({ key, at, kind, what, who, said }) => (
          <li key={key} className="group relative pb-4.5 pl-6">
            <span
              aria-hidden
              className={cn("absolute top-[5px] left-0.5 size-2.5 rounded-full bg-input", LIGHTS[kind])}
            />
            <span
              aria-hidden
              className="absolute top-5 bottom-0 left-[6.5px] w-px bg-border group-last:hidden"
            />
            <span className="block">{what}</span>
            <span className="text-[13px] text-muted-foreground">
              {who}, <Time at={at} />
            </span>
            {said?.comment && <Quote label="Comment:">{said.comment}</Quote>}
            {said?.comments?.map(({ exact, body }, index) => (
              <Quote key={index} label={`On “${shortened(exact)}”:`}>
                {body}
              </Quote>
            ))}
          </li>
        ))}
      </ol>
      {hasOlder && (
        <Button type="button" variant="outline" size="sm" onClick={() => void loadOlder()}>
          Show older
        </Button>
      )}
    </>
  );
}

const PAGE_SIZE = 100;

/** The newest events, which may change, and older ones as far as they were asked for. */
function useEvents(newest: AgentEvent[]) {
  const [last, setLast] = useState(newest);
  const [known, setKnown] = useState(newest);
  const [hasOlder, setHasOlder] = useState(newest.length >= PAGE_SIZE);
  if (last !== newest) {
    setLast(newest);
    setKnown(union(newest, known));
  }

  async function loadOlder() {
    const oldest = known.at(-1);
    if (!oldest) return;
    try {
      const older = await listEvents(await loadClient(), oldest.agent_id, {
        before: oldest.id,
        limit: PAGE_SIZE,
      });
      setKnown((known) => union(known, older));
      setHasOlder(older.length >= PAGE_SIZE);
    } catch (error) {
      toast.error(errorMessage(errorCode(error)));
    }
  }

  return { known, hasOlder, loadOlder };
}

function union(some: AgentEvent[], others: AgentEvent[]): AgentEvent[] {
  const byId = new Map([...some, ...others].map((event) => [event.id, event]));
  return [...byId.values()].sort((a, b) => b.id - a.id);
}

function shortened(passage: string): string {
  const signs = Array.from(visibleText(passage.replace(/\s+/g, " ").trim()));
  return signs.length > 60 ? `${signs.slice(0, 60).join("")}…` : signs.join("");
}

function ofEvent(
  { id, kind, version, to_status, actor, created_at }: AgentEvent,
  plans: readonly Plan[],
  people: People,
): Entry {
  const isApproval = kind === "approved" || kind === "revised";
  return {
    ...(isApproval && { said: plans.find((plan) => plan.version === version) }),
    key: `event ${id}`,
    at: created_at,
    kind: kind === "status_changed" ? to_status : kind,
    what: eventText(kind, version, to_status),
    who: actor === null ? "the builder" : nameOf(actor, people, "you"),
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
function ofPlan(plan: Plan, people: People): Entry[] {
  if (plan.proposed_by === null) return [];
  const entries: Entry[] = [];
  const decision = DECISIONS[plan.status];
  if (decision && plan.decided_at !== null)
    entries.push({
      key: `decision ${plan.id}`,
      at: plan.decided_at,
      kind: plan.status,
      what: `Version ${plan.version} ${decision}`,
      who: plan.status === "withdrawn" ? "the planner" : (decider(plan, people) ?? "you"),
      said: plan,
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
    who: proposer(plan, people),
  });
  return entries;
}
