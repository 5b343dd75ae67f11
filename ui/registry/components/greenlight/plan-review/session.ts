import { getPlan, getPlanningSession, reader, type Plan, type Supabase } from "@/lib/greenlight/client";
import { loadPeople, type People } from "@/lib/greenlight/people";
import type { Draft } from "./draft";

export type Session = Awaited<ReturnType<typeof getPlanningSession>> & { people: People };

/**
 * A planning session, and in it the version that is on the screen, even if it is so old that the Data API would leave it
 * out of the list. Of another owner, if one is named.
 */
export async function loadSession(
  supabase: Supabase,
  sessionId: string,
  shown: Plan | undefined,
  owner?: string,
): Promise<Session> {
  const [session, asking] = await Promise.all([
    getPlanningSession(supabase, sessionId, { userId: owner }),
    reader(supabase),
  ]);
  if (shown && !findPlan(session, shown.id)) {
    const plan = await getPlan(supabase, { sessionId, version: shown.version, userId: owner });
    if (plan) session.plans.push(plan);
  }
  return { ...session, people: await loadPeople(supabase, session.plans, asking) };
}

export function findPlan(
  { plans, proposal, approved }: Pick<Session, "plans" | "proposal" | "approved">,
  id: string | null | undefined,
): Plan | undefined {
  return [proposal, approved, ...plans].find((plan) => plan?.id === id) ?? undefined;
}

/**
 * What a review opens with: "draft", or the id of a plan, or null if there is nothing yet. A proposal comes
 * first, unless the user has edits of their own that were not sent, or that are newer.
 */
export function firstView(session: Session, draft: Draft | undefined): string | null {
  const { proposal, approved, plans } = session;
  if (proposal && !(draft && (!draft.settled || draft.version > proposal.version))) return proposal.id;
  if (draft) return "draft";
  return (approved ?? plans[0])?.id ?? null;
}
