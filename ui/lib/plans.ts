import { listProposals, type Agent, type Plan, type PlanStatus, type Supabase } from "greenlight-client";
import type { Draft } from "./draft";

export interface Session {
  agent: Agent | null;
  /** All versions, newest first. */
  plans: Plan[];
}

/** The plan that waits for a decision. */
export function openProposal({ plans }: Session): Plan | undefined {
  return plans.find(({ status }) => status === "proposed");
}

/** The plan that the session's agent is built from. */
export function approvedPlan({ agent, plans }: Session): Plan | undefined {
  return plans.find(({ id }) => id === agent?.plan_id);
}

/** The newest version below this one that was decided: what a reader compares this one with. */
export function lastDecided(plans: Plan[], { version }: Plan): Plan | undefined {
  return plans.find((plan) => plan.version < version && plan.decided_at !== null);
}

/** Whether a plan was approved at some time: also if a newer version has replaced it since. */
export function wasApproved({ status, decided_at }: Plan): boolean {
  return status === "approved" || status === "archived" || (status === "superseded" && decided_at !== null);
}

/**
 * What /build?session=… opens with: "draft", or the id of a plan, or null if there is nothing yet. A proposal comes
 * first, unless the user has edits of their own that were not sent, or that are newer.
 */
export function firstView(session: Session, draft: Draft | undefined): string | null {
  const proposal = openProposal(session);
  if (proposal && !(draft && (!draft.settled || draft.version > proposal.version))) return proposal.id;
  if (draft) return "draft";
  return (approvedPlan(session) ?? session.plans[0])?.id ?? null;
}

/** Who proposed a plan, for its owner. */
export function proposer(proposedBy: string): string {
  if (proposedBy === "user") return "you";
  if (proposedBy === "service_role") return "your app (service role)";
  return `the OAuth client ${proposedBy}`;
}

const DECIDED: PlanStatus[] = ["approved", "changes_requested", "rejected", "withdrawn"];

export const PLANS_PAGE_SIZE = 20;

/** Which page of each list is shown. */
export interface PlansPages {
  waiting: number;
  expired: number;
  decided: number;
}

/** A page of what waits for the user, of what expired before a decision, and of what was decided: newest first. */
export async function loadPlans(supabase: Supabase, pages: PlansPages) {
  const limit = PLANS_PAGE_SIZE;
  const [waiting, expired, decided] = await Promise.all([
    listProposals(supabase, { expired: false, page: pages.waiting, limit }),
    listProposals(supabase, { expired: true, page: pages.expired, limit }),
    listProposals(supabase, { status: DECIDED, page: pages.decided, limit }),
  ]);
  return { waiting, expired, decided };
}

/** How many proposals wait for the user. */
export async function countWaiting(supabase: Supabase): Promise<number> {
  return (await listProposals(supabase, { expired: false, limit: 1 })).count;
}

const STATUS_NAMES: Record<PlanStatus, string> = {
  proposed: "waiting",
  changes_requested: "Sent back",
  rejected: "rejected",
  withdrawn: "withdrawn",
  approved: "approved",
  superseded: "replaced",
  archived: "archived",
};

export function statusName(status: PlanStatus): string {
  return STATUS_NAMES[status];
}
