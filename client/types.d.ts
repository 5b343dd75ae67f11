import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database, Tables } from "./database.d.ts";

export type { Database };

/** A client of supabase-js, with whatever database types it has. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- your Database type is not ours
export type Supabase = SupabaseClient<any, any, any, any, any>;

export type PlanStatus =
  "proposed" | "changes_requested" | "rejected" | "withdrawn" | "approved" | "superseded" | "archived";
export type AgentStatus = "building" | "active" | "paused" | "archived" | "failed";
export type BuildStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";

type WithStatus<Row, Status> = Omit<Row, "status"> & { status: Status };

/** A row of `plan`: one version of a planning session's document. */
export type Plan = WithStatus<Tables<"plan">, PlanStatus>;
/** A row of `agent`. */
export type Agent = WithStatus<Tables<"agent">, AgentStatus>;
/** A row of `build`: the work on an agent. */
export type Build = WithStatus<Tables<"build">, BuildStatus>;
/** A row of `agent_event`, the audit log. */
export type AgentEvent = Tables<"agent_event">;

/**
 * An agent with the plan it is built from, its newest build, the plans of its session, those of them that were approved at
 * some time, and its events: newest first, as many as the Data API returns at once.
 */
export type AgentDetails = Agent & {
  plan: Plan;
  build: Build | null;
  plans: Plan[];
  approved: Plan[];
  events: AgentEvent[];
};

/** An agent in a list. */
export type AgentSummary = Agent & { plan: Plan; build: Build | null };

/** The codes of the database's refusals. `docs/errors.md` says what each one means. */
export type DatabaseErrorCode =
  | "not_authenticated"
  | "human_required"
  | "agent_not_found"
  | "plan_not_found"
  | "build_not_found"
  | "document_not_found"
  | "document_too_large"
  | "plan_conflict"
  | "plan_stale"
  | "plan_decided"
  | "plan_expired"
  | "agent_archived"
  | "agent_deleted"
  | "illegal_transition"
  | "build_lost"
  | "invalid_session_id"
  | "invalid_version"
  | "invalid_title"
  | "invalid_document_sha256"
  | "invalid_document_url"
  | "invalid_expires_at"
  | "invalid_user_id"
  | "invalid_comment"
  | "invalid_status"
  | "invalid_worker"
  | "invalid_max_builds"
  | "invalid_lease_seconds"
  | "invalid_progress"
  | "invalid_retry";

export type ErrorCode =
  | DatabaseErrorCode
  /** NUL or a lone surrogate in a text, bytes that are not UTF-8, an id that is not a UUID. Nothing was sent. */
  | "invalid_request"
  /** Other bytes are stored under the document's hash, and cannot be replaced. */
  | "document_conflict"
  /** The content's hash is not the `sha256` that was given with it. Nothing was sent. */
  | "document_changed"
  /** Supabase could not be reached, or is restarting or busy. */
  | "upstream_unavailable"
  | "upstream_timeout"
  /** Any other unexpected answer of Supabase; `cause` has it. */
  | "upstream_error";

/** The error that every function of this package throws. */
export class GreenlightError extends Error {
  readonly name: "GreenlightError";
  readonly code: ErrorCode;
  /** What was wrong, in a sentence. */
  readonly details: string | null;
  /** What to do about it. */
  readonly hint: string | null;
  /** Whether the same call may succeed later. It is always safe to repeat a call. */
  readonly retryable: boolean;
  /** supabase-js's own error, if there is one. */
  readonly cause: unknown;
  constructor(
    code: ErrorCode,
    options?: { details?: string | null; hint?: string | null; retryable?: boolean; cause?: unknown },
  );
}

/** Names one version of a planning session. */
export interface PlanVersion {
  /** The planning session's id: 1 to 128 letters, digits, hyphens and underscores. */
  sessionId: string;
  version: number;
}

export interface NewDocument extends PlanVersion {
  /** The document, exactly as it was shown. A string is sent as UTF-8; bytes have to be UTF-8. */
  content: string | Uint8Array;
  /** The SHA-256 of what was shown, in hex. If the content has another one, `document_changed`. */
  sha256?: string | undefined;
  /** Whose plan it is. Needed only if the client has no session of its own: see the README. */
  userId?: string | undefined;
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

/**
 * Approves a plan: creates its agent, or moves the session's agent to this version.
 *
 * Without a title it approves a proposed version, in one call with the hash of `content`. The database refuses with
 * `plan_conflict` if that is not the proposal's document, and with `invalid_title` if the version was not proposed.
 *
 * With a title, the version does not have to be proposed. The document is stored first.
 */
export function approvePlan(
  supabase: Supabase,
  plan: NewDocument & {
    title?: string | undefined;
    onStep?: ((step: "uploading" | "creating") => void) | undefined;
  },
): Promise<Approval>;

/** Stores the document and proposes it to its user. */
export function proposePlan(
  supabase: Supabase,
  plan: NewDocument & {
    title: string;
    /** Until when it can be approved. Without it there is no limit. */
    expiresAt?: Date | string | null | undefined;
  },
): Promise<Proposal>;

/** Sends a proposal back. The comment reaches the planner, which may then propose a higher version. */
export function requestChanges(
  supabase: Supabase,
  decision: PlanVersion & { comment: string },
): Promise<Plan>;

export function rejectPlan(
  supabase: Supabase,
  decision: PlanVersion & { comment?: string | undefined },
): Promise<Plan>;

/** Takes a proposal back. Only the service role names a user. */
export function withdrawPlan(
  supabase: Supabase,
  decision: PlanVersion & { userId?: string | undefined },
): Promise<Plan>;

/**
 * One page of the plans with one status or several, and how many there are in all. Newest first; lists without proposals
 * by the time of the decision. Without a status: the proposals that wait for a decision, including those that have
 * expired since, unless `expired` asks for one kind only. Pages count from 1.
 */
export function listProposals(
  supabase: Supabase,
  options?: {
    status?: PlanStatus | PlanStatus[] | undefined;
    /** True: only what has expired, by the database's clock. False: only what has not. */
    expired?: boolean | undefined;
    page?: number | undefined;
    /** How many plans a page has; 50 without it. */
    limit?: number | undefined;
  },
): Promise<{ plans: Plan[]; count: number }>;

/** One version of a session, or null. */
export function getPlan(supabase: Supabase, plan: PlanVersion): Promise<Plan | null>;

/**
 * The agent of a planning session with the plan that it is built from, the proposal that waits, and the session's plans,
 * newest first: as many as the Data API returns at once.
 */
export function getPlanningSession(
  supabase: Supabase,
  sessionId: string,
): Promise<{ agent: Agent | null; approved: Plan | null; proposal: Plan | null; plans: Plan[] }>;

/**
 * The newest version below this one that the human approved, sent back or rejected: what a reviewer may compare with.
 * Never one that was withdrawn, or replaced before a decision.
 */
export function getPreviousDecision(
  supabase: Supabase,
  plan: Pick<Plan, "user_id" | "session_id" | "version">,
): Promise<Plan | null>;

/**
 * The bytes of a plan's document, their SHA-256, and whether this is the plan's hash. Stops reading at 1 MiB, with
 * `document_too_large`.
 */
export function getDocument(
  supabase: Supabase,
  plan: Pick<Plan, "document_path" | "document_sha256">,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sha256: string; verified: boolean }>;

/** An agent by its id. Null if it does not exist, is deleted, or belongs to another user. */
export function getAgent(supabase: Supabase, agentId: string): Promise<AgentDetails | null>;

/** Events of an agent, newest first: those before an event that is known already, or the newest ones. */
export function listEvents(
  supabase: Supabase,
  agentId: string,
  options?: { before?: AgentEvent["id"] | undefined; limit?: number | undefined },
): Promise<AgentEvent[]>;

/** One page of the user's agents, newest first, and whether there are older ones. Pages count from 1. */
export function listAgents(
  supabase: Supabase,
  options?: {
    status?: AgentStatus | null | undefined;
    page?: number | undefined;
    pageSize?: number | undefined;
  },
): Promise<{ agents: AgentSummary[]; more: boolean }>;

export function pauseAgent(supabase: Supabase, agentId: string): Promise<Agent>;
export function resumeAgent(supabase: Supabase, agentId: string): Promise<Agent>;
/** Archives an agent. That is final. */
export function archiveAgent(supabase: Supabase, agentId: string): Promise<Agent>;
/** Builds a failed agent again. */
export function retryBuild(supabase: Supabase, agentId: string): Promise<Agent>;
/** Deletes an agent and the plans of its session, until `restoreAgent` brings them back. */
export function deleteAgent(supabase: Supabase, agentId: string): Promise<Agent>;
export function restoreAgent(supabase: Supabase, agentId: string): Promise<Agent>;
/** The user's deleted agents, newest first. */
export function deletedAgents(supabase: Supabase): Promise<Agent[]>;

export interface WatchOptions<Value> {
  /** The value that is already known. The first load then comes after its interval, not at once. */
  initial?: Value | undefined;
  /** Called after each failure. Watching continues; the pause grows with each failure, up to a minute. */
  onError?: ((error: unknown) => void) | undefined;
  /** Another way to stop. */
  signal?: AbortSignal | undefined;
}

export interface RealtimeOptions<Value> extends WatchOptions<Value> {
  /** Load as soon as Realtime reports a change, and poll rarely. Its publication needs the tables: see the README. */
  realtime?: boolean | undefined;
}

/**
 * Calls `load` now and then again after `intervalMs(value)`, and `onChange` with the first value and each one that
 * differs from the one before. Waits while the tab is hidden. Returns a function that stops it.
 */
export function watch<Value>(
  load: () => Promise<Value>,
  onChange: (value: Value) => void,
  options: WatchOptions<Value> & { intervalMs: (value: Value) => number },
): () => void;

/** Watches an agent: every 2 seconds while it is being built, else every 20. Null when it is deleted. */
export function watchAgent(
  supabase: Supabase,
  agentId: string,
  onChange: (agent: AgentDetails | null) => void,
  options?: RealtimeOptions<AgentDetails | null>,
): () => void;

/** Watches one version of a session: every 2 seconds until it is decided, then every 20. Null before it is proposed. */
export function watchProposal(
  supabase: Supabase,
  plan: PlanVersion,
  onChange: (plan: Plan | null) => void,
  options?: RealtimeOptions<Plan | null>,
): () => void;
