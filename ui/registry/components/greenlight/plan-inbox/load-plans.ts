import { listProposals, type PlanStatus, type Supabase } from "@/lib/greenlight/client";

const DECIDED: PlanStatus[] = ["approved", "changes_requested", "rejected", "withdrawn"];

export const PAGE_SIZE = 20;

/** Which page of each list is shown. */
export interface Pages {
  waiting: number;
  expired: number;
  decided: number;
}

/** A page of what waits for the user, of what expired before a decision, and of what was decided: newest first. */
export async function loadPlans(supabase: Supabase, pages: Pages) {
  const limit = PAGE_SIZE;
  const [waiting, expired, decided] = await Promise.all([
    listProposals(supabase, { expired: false, page: pages.waiting, limit }),
    listProposals(supabase, { expired: true, page: pages.expired, limit }),
    listProposals(supabase, { status: DECIDED, page: pages.decided, limit }),
  ]);
  return { waiting, expired, decided };
}

export type Plans = Awaited<ReturnType<typeof loadPlans>>;

/** How many proposals wait for the user. */
export async function countWaiting(supabase: Supabase): Promise<number> {
  return (await listProposals(supabase, { expired: false, limit: 1 })).count;
}
