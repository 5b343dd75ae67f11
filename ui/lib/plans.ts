import {
  getPlan,
  getPlanningSession,
  listProposals,
  type Plan,
  type PlanStatus,
  type Supabase,
} from "greenlight-client";
import type { Draft } from "./draft";

export type Session = Awaited<ReturnType<typeof getPlanningSession>>;

/**
 * A planning session, and in it the version that is on the screen: also if it is so old that the Data API would leave it
 * out of the list.
 */
export async function loadSession(
  supabase: Supabase,
  sessionId: string,
  shown: Plan | undefined,
): Promise<Session> {
  const session = await getPlanningSession(supabase, sessionId);
  if (!shown || findPlan(session, shown.id)) return session;
  const plan = await getPlan(supabase, { sessionId, version: shown.version });
  return plan ? { ...session, plans: [...session.plans, plan] } : session;
}

export function findPlan(
  { plans, proposal, approved }: Session,
  id: string | null | undefined,
): Plan | undefined {
  return [proposal, approved, ...plans].find((plan) => plan?.id === id) ?? undefined;
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
  const { proposal, approved, plans } = session;
  if (proposal && !(draft && (!draft.settled || draft.version > proposal.version))) return proposal.id;
  if (draft) return "draft";
  return (approved ?? plans[0])?.id ?? null;
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
