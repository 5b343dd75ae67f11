// What an adopter writes: it has to compile, and what is marked has to be refused.
import { createClient } from "@supabase/supabase-js";
import {
  approvePlan,
  commentOn,
  type Database,
  feedback,
  getAgent,
  getBuildLog,
  GreenlightError,
  type ErrorCode,
  listProposals,
  locateComment,
  type Plan,
  type PlanComment,
  requestChanges,
  shownResult,
  stopBuild,
  waitForDecision,
  watch,
  watchProposal,
} from "greenlight-client";

// A database of their own, which knows nothing of ours.
interface Theirs {
  public: {
    Tables: {
      note: { Row: { id: number }; Insert: { id?: number }; Update: { id?: number }; Relationships: [] };
    };
    Views: Record<string, never>;
    Functions: Record<string, never>;
  };
}

export const theirs = createClient<Theirs>("http://supabase.test", "key");
export const ours = createClient<Database>("http://supabase.test", "key");
export const untyped = createClient("http://supabase.test", "key");

export async function review(): Promise<Plan["status"][]> {
  for (const supabase of [ours, untyped]) await getAgent(supabase, "id");
  const { plans } = await listProposals(theirs, {
    status: ["proposed", "rejected"],
    expired: false,
    page: 2,
  });
  const { agent_id, created } = await approvePlan(theirs, {
    sessionId: "s",
    version: 1,
    content: new Uint8Array(1),
  });
  const agent = await getAgent(theirs, agent_id);
  const progress: number | null | undefined = agent?.build?.progress;
  const stop: () => void = watchProposal(theirs, { sessionId: "s", version: 1 }, (plan) => plan?.comment);
  watch(
    () => Promise.resolve(1),
    (value) => value.toFixed(),
    { intervalMs: (value) => value * 1000 },
  );
  const { data } = await ours.from("build").select("status, plan(title)").single();
  console.log(created, progress, stop, data?.plan.title);
  return plans.map(({ status }) => status);
}

export async function sendBack(text: string): Promise<string | null> {
  const comments: PlanComment[] = [commentOn(text, { start: 2, end: 6 }, "Which?")];
  const version = { sessionId: "s", version: 1 };
  await requestChanges(ours, { ...version, comments });
  const plan = await requestChanges(theirs, { ...version, comment: "Name it.", comments });
  const places = plan.comments?.map((comment) => locateComment(text, comment)?.start.toFixed());
  return places?.join() ?? plan.message ?? feedback(plan, text);
}

export async function whatBecameOfIt(agentId: string): Promise<string | null> {
  const build = (await getAgent(theirs, agentId))?.build;
  if (!build) return (await stopBuild(theirs, agentId)).status;
  const attempts: string = `${build.attempt.toFixed()}/${build.max_attempts.toFixed()}`;
  const shared: number | undefined = build.logs[0]?.attempt;
  const log = await getBuildLog(untyped, build.id, shared ?? build.attempt);
  if (typeof build.result?.["pages"] === "number") return build.result["pages"].toFixed();
  // @ts-expect-error a builder may have put anything there
  const url: string | undefined = build.result?.["url"];
  return shownResult(build).url ?? shownResult(build).summary ?? log?.content ?? url ?? attempts;
}

export async function plan(write: (feedback: string) => Promise<string>): Promise<string> {
  const decision = await waitForDecision(theirs, {
    sessionId: "s",
    version: 1,
    signal: AbortSignal.timeout(1),
  });
  // @ts-expect-error what is not approved has no agent
  console.log(decision.agentId);
  switch (decision.status) {
    case "approved":
      return decision.agentId;
    case "changes_requested":
      // @ts-expect-error feedback is no approval
      console.log(decision.agentId);
      return write(decision.feedback);
    case "superseded":
      return decision.newestVersion.toFixed();
    case "expired":
      return decision.expiresAt.toISOString();
    default:
      return decision.plan.comment ?? decision.status;
  }
}

export function explain(error: unknown): string {
  if (!(error instanceof GreenlightError)) throw error;
  const code: ErrorCode = error.code;
  switch (code) {
    case "plan_stale":
      return error.details ?? "";
    // @ts-expect-error there is no such code
    case "plan_lost":
      return "";
    default:
      return error.retryable ? "Try again." : code;
  }
}

// @ts-expect-error a decision needs the document that was shown
void approvePlan(ours, { sessionId: "s", version: 1 });
// @ts-expect-error a planner needs to be told what to change
void requestChanges(ours, { sessionId: "s", version: 1 });
// @ts-expect-error there is no such status
void listProposals(ours, { status: "decided" });
// @ts-expect-error an agent may be null
void getAgent(ours, "id").then((agent) => agent.name);
