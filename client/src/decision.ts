import { feedback } from "./comments";
import { checked, typed } from "./data-api";
import { decodeDocument, getDocument, ownId } from "./documents";
import { GreenlightError } from "./errors";
import { assertVersion, type PlanVersion } from "./plans";
import type { AgentStatus, Plan, Supabase } from "./types";

const LONGEST_MS = 60_000;

/**
 * What became of a proposal. Only an approval has an agent. `feedback` is all that the human wrote, as Markdown for a
 * model; `plan` has it in parts.
 */
export type Decision =
  | { status: "approved"; plan: Plan; agentId: string; agentStatus: AgentStatus; feedback: string | null }
  /** Propose a changed plan, as a higher version. */
  | { status: "changes_requested"; plan: Plan; feedback: string }
  /** Stop, and ask what the human wants. */
  | { status: "rejected"; plan: Plan; feedback: string | null }
  | { status: "withdrawn"; plan: Plan }
  /** A newer version took its place, also if this one had been approved. */
  | { status: "superseded"; plan: Plan; newestVersion: number }
  /** It was not decided in time, and cannot be approved any more. */
  | { status: "expired"; plan: Plan; expiresAt: Date };

/**
 * Waits until the human has decided on a proposal. It can be called again, by another process, too: a decision is final.
 * Failures that may pass do not end the wait; they make the pauses longer. `plan_not_found` if there is no such version.
 */
export async function waitForDecision(
  supabase: Supabase,
  {
    sessionId,
    version,
    userId,
    intervalMs = 5_000,
    signal,
  }: PlanVersion & {
    /** Whose plan it is. Needed only if the client has no session of its own: see the README. */
    userId?: string | undefined;
    /** The pause between two looks. */
    intervalMs?: number | undefined;
    /** Ends the wait: `AbortSignal.timeout(60_000)` after a minute, with its error. */
    signal?: AbortSignal | undefined;
  },
): Promise<Decision> {
  assertVersion(sessionId, version);
  for (let failures = 0; ;) {
    signal?.throwIfAborted();
    try {
      const session = { session_id: sessionId, user_id: userId ?? (await ownId(supabase)) };
      const decision = await look(supabase, session, version);
      if (decision) return decision;
      failures = 0;
    } catch (error) {
      if (!(error instanceof GreenlightError && error.retryable)) throw error;
      failures++;
    }
    await pause(Math.min(intervalMs * 2 ** failures, Math.max(intervalMs, LONGEST_MS)), signal);
  }
}

/** The decision, or null if there is none yet. */
async function look(
  supabase: Supabase,
  session: { session_id: string; user_id: string },
  version: number,
): Promise<Decision | null> {
  const plans = () => typed(supabase).from("plan").select().match(session).is("deleted_at", null);
  const plan = checked(await plans().eq("version", version).maybeSingle()).data as Plan | null;
  if (!plan)
    throw new GreenlightError("plan_not_found", { details: "There is no such version in this session." });
  const { status, expires_at } = plan;
  switch (status) {
    case "proposed": {
      const expiresAt = new Date(expires_at ?? NaN);
      return expiresAt.getTime() <= Date.now() ? { status: "expired", plan, expiresAt } : null;
    }
    case "withdrawn":
      return { status, plan };
    case "superseded": {
      const newest = plans().order("version", { ascending: false }).limit(1).maybeSingle();
      return { status, plan, newestVersion: checked(await newest).data?.version ?? version };
    }
  }
  const said = await remarks(supabase, plan);
  switch (status) {
    case "changes_requested":
      return { status, plan, feedback: said ?? "" };
    case "rejected":
      return { status, plan, feedback: said };
    case "approved":
    case "archived": {
      const query = typed(supabase).from("agent").select("id,status").match(session).is("deleted_at", null);
      const agent = checked(await query.maybeSingle()).data;
      if (!agent)
        throw new GreenlightError("plan_not_found", { details: "The agent of this session was deleted." });
      const agentStatus = agent.status as AgentStatus;
      return { status: "approved", plan, agentId: agent.id, agentStatus, feedback: said };
    }
  }
}

async function remarks(supabase: Supabase, plan: Plan): Promise<string | null> {
  const text = async () => decodeDocument((await getDocument(supabase, plan)).bytes);
  // Without the document, the passages have no lines.
  return feedback(plan, plan.comments && (await text().catch(() => null)));
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      if (signal?.aborted) reject(signal.reason as Error);
      else resolve();
    }
  });
}
