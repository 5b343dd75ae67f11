import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database, Json, Tables } from "./database";

export type { Database };

/** A client of supabase-js, with whatever database types it has. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- your Database type is not ours
export type Supabase = SupabaseClient<any, any, any, any, any>;

export type PlanStatus =
  "proposed" | "changes_requested" | "rejected" | "withdrawn" | "approved" | "superseded" | "archived";
export type AgentStatus = "building" | "active" | "paused" | "archived" | "failed";
export type BuildStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";

type WithStatus<Row, Status> = Omit<Row, "status"> & { status: Status };

/** What the human wrote on a passage of a plan's document. */
export interface PlanComment {
  /** The passage, as positions in the document's Unicode code points: `Array.from(text).slice(start, end)`. */
  start: number;
  end: number;
  /** The passage itself. */
  exact: string;
  body: string;
}

/** A row of `plan`: one version of a planning session's document. */
export type Plan = Omit<WithStatus<Tables<"plan">, PlanStatus>, "comments"> & {
  comments: PlanComment[] | null;
};
/** A row of `agent`. */
export type Agent = WithStatus<Tables<"agent">, AgentStatus>;
/** A row of `build`: the work on an agent. */
export type Build = Omit<WithStatus<Tables<"build">, BuildStatus>, "result"> & {
  /** What the builder says it made: see `shownResult`. */
  result: Record<string, Json | undefined> | null;
};
/** A build, and which of its attempts shared a log. */
export type BuildDetails = Build & { logs: Pick<BuildLog, "attempt" | "updated_at">[] };
/** A row of `build_log`: the end of what one attempt at a build wrote. */
export type BuildLog = Tables<"build_log">;
/** A row of `agent_event`, the audit log. */
export type AgentEvent = Tables<"agent_event">;

/**
 * An agent with the plan it is built from, its newest build, the plans of its session, those of them that were ever
 * approved, and its events: newest first, as many as the Data API returns at once.
 */
export type AgentDetails = Agent & {
  plan: Plan;
  build: BuildDetails | null;
  plans: Plan[];
  approved: Plan[];
  events: AgentEvent[];
};

/** An agent in a list. */
export type AgentSummary = Agent & { plan: Plan; build: Build | null };

/** A plan in a list. */
export type ListedPlan = Plan & {
  /** Whether the caller may decide on it. */
  may_decide: boolean;
};

/** A team of the caller. */
export interface PlanTeam {
  team_id: string;
  /** Whether they may decide on its plans. */
  may_decide: boolean;
  /** Whether they may decide on those that are their own. */
  may_decide_own: boolean;
}

/** What a user is called. */
export interface DisplayName {
  user_id: string;
  /** Null where the project gives none. */
  name: string | null;
}

export interface Approval {
  plan_id: string;
  agent_id: string;
  agent_status: AgentStatus;
  version: number;
  /** False if this version was already approved. */
  created: boolean;
}

export interface Proposal {
  plan_id: string;
  version: number;
  status: PlanStatus;
  /** False if this version was already proposed. */
  created: boolean;
}
