import { call, checked, typed } from "./data-api";
import { assertText, callerId, ownId, read, store } from "./documents";
import { GreenlightError } from "./errors";
import { mayDecide, named, reader, whose, type Reader } from "./teams";
import type { Agent, Approval, ListedPlan, Plan, PlanComment, PlanStatus, Proposal, Supabase } from "./types";

/** A planning session's id, as the database accepts it. */
export const SESSION_ID = /^[A-Za-z0-9_-]{1,128}$/;
const MAX_INTEGER = 2 ** 31 - 1;

const WHITE_SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const EDGES = new RegExp(`^[${WHITE_SPACE}]+|[${WHITE_SPACE}]+$`, "gu");
// With line breaks and bidi controls.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/u;
// Not of the categories C and Z, and not blank: the ranges of the database.
const SEEN =
  /[^\u0000-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e007f}]/u;
/** In Unicode code points, without white space around it. */
export const MAX_TITLE_LENGTH = 500;
/** In Unicode code points: a comment, the passage that it is on, and a planner's message. */
export const MAX_COMMENT_LENGTH = 4000;

/** Names one version of a planning session. */
export interface PlanVersion {
  /** The planning session's id: 1 to 128 letters, digits, hyphens and underscores. */
  sessionId: string;
  version: number;
}

export interface Owned {
  /** Whose session it is; the caller's own without it. An approver names its owner. */
  userId?: string | undefined;
}

export interface NewDocument extends PlanVersion {
  /** The document, exactly as it was shown. A string is sent as UTF-8; bytes have to be UTF-8. */
  content: string | Uint8Array;
  /** The SHA-256 of what was shown, in hex. If the content has another one, `document_changed`. */
  sha256?: string | undefined;
  /** Whose plan it is: of an approver's decision the owner's id; also if the client has no session of its own. */
  userId?: string | undefined;
}

/** What the human says with a decision. The first decision on a version keeps its remarks. */
export interface Remarks {
  /** On the whole plan. */
  comment?: string | undefined;
  /** On passages of the document: see `commentOn`. */
  comments?: readonly PlanComment[] | undefined;
}

/**
 * Approves a plan: creates its agent, or moves the session's agent to this version.
 *
 * Without a title it approves a proposed version, in one call with the hash of `content`. The database refuses with
 * `plan_conflict` if that is not the proposal's document, and with `invalid_title` if the version was not proposed.
 *
 * With a title, the version does not have to be proposed. The document is stored first.
 *
 * Remarks reach the builder.
 */
export async function approvePlan(
  supabase: Supabase,
  {
    sessionId,
    version,
    title,
    content,
    sha256: expected,
    userId,
    onStep,
    ...remarks
  }: NewDocument &
    Remarks & {
      title?: string | undefined;
      onStep?: ((step: "uploading" | "creating") => void) | undefined;
    },
): Promise<Approval> {
  assertVersion(sessionId, version);
  if (title !== undefined) assertTitle(title);
  const said = remarkArguments(remarks);
  const { bytes, sha256 } = await read(content, expected);
  const approval = { session_id: sessionId, version, document_sha256: sha256, ...said };
  if (title === undefined) {
    onStep?.("creating");
    return call(supabase, "approve_plan", { ...approval, ...(userId && { user_id: userId }) });
  }
  onStep?.("uploading");
  return store(supabase, { userId, sessionId, bytes, sha256 }, (document_url) => {
    onStep?.("creating");
    return call(supabase, "approve_plan", { ...approval, title, document_url });
  });
}

/** Stores the document and proposes it to its user. */
export async function proposePlan(
  supabase: Supabase,
  {
    sessionId,
    version,
    title,
    content,
    sha256: expected,
    userId,
    expiresAt,
    message,
    teamId,
  }: NewDocument & {
    title: string;
    /** The team whose approvers decide. A session keeps the team of its first plan. */
    teamId?: string | undefined;
    /** What the human should know: what has changed, what you ask. */
    message?: string | undefined;
    /** Until when it can be approved. Without it there is no limit. */
    expiresAt?: Date | string | null | undefined;
  },
): Promise<Proposal> {
  assertVersion(sessionId, version);
  assertTitle(title);
  assertText(message);
  const { bytes, sha256 } = await read(content, expected);
  const expires_at = expiresAt instanceof Date ? expiresAt.toISOString() : expiresAt;
  return store(supabase, { userId, sessionId, bytes, sha256 }, (document_url) =>
    call(supabase, "propose_plan", {
      session_id: sessionId,
      version,
      title,
      document_sha256: sha256,
      document_url,
      ...(expires_at && { expires_at }),
      ...(userId && { user_id: userId }),
      ...(message !== undefined && { message }),
      ...(teamId && { team_id: teamId }),
    }),
  );
}

/** Sends a proposal back. The remarks reach the planner, which may then propose a higher version. */
export async function requestChanges(
  supabase: Supabase,
  {
    sessionId,
    version,
    userId,
    ...remarks
  }: PlanVersion & Owned & Remarks & ({ comment: string } | { comments: readonly PlanComment[] }),
): Promise<Plan> {
  assertVersion(sessionId, version);
  return call(supabase, "request_changes", {
    session_id: sessionId,
    version,
    ...remarkArguments(remarks),
    ...(userId && { user_id: userId }),
  });
}

export async function rejectPlan(
  supabase: Supabase,
  { sessionId, version, userId, ...remarks }: PlanVersion & Owned & Remarks,
): Promise<Plan> {
  assertVersion(sessionId, version);
  return call(supabase, "reject_plan", {
    session_id: sessionId,
    version,
    ...remarkArguments(remarks),
    ...(userId && { user_id: userId }),
  });
}

/** Takes a proposal back. Only the service role names a user. */
export async function withdrawPlan(
  supabase: Supabase,
  { sessionId, version, userId }: PlanVersion & { userId?: string | undefined },
): Promise<Plan> {
  assertVersion(sessionId, version);
  return call(supabase, "withdraw_plan", {
    session_id: sessionId,
    version,
    ...(userId && { user_id: userId }),
  });
}

/**
 * One page of the plans with one status or several, and how many there are in all. Newest first; lists without proposals
 * by the time of the decision. Without a status: the proposals that wait for a decision, including those that have
 * expired since, unless `expired` asks for one kind only. Pages count from 1.
 *
 * Without `userId` and `teamId`: the caller's own plans and those of their teams. `may_decide` tells whether the caller
 * may decide on a plan.
 */
export async function listProposals(
  supabase: Supabase,
  {
    status = "proposed",
    expired,
    page = 1,
    limit = 50,
    userId,
    teamId,
    owner,
    mayDecide: decides,
    reader: asking,
  }: {
    status?: PlanStatus | PlanStatus[] | undefined;
    /** True: only what has expired, by the database's clock. False: only what has not. */
    expired?: boolean | undefined;
    page?: number | undefined;
    /** How many plans a page has; 50 without it. */
    limit?: number | undefined;
    /** Only plans of this owner. */
    userId?: string | undefined;
    /** Only plans of this team. */
    teamId?: string | undefined;
    /** Only the caller's own plans, or only those of others in their teams. */
    owner?: "own" | "others" | undefined;
    /** With `owner`: only those on which the caller may decide, or may not. */
    mayDecide?: boolean | undefined;
    /** What `reader` answered before: it is not asked again. */
    reader?: Reader | undefined;
  } = {},
): Promise<{ plans: ListedPlan[]; count: number }> {
  const statuses = [status].flat();
  const waiting = statuses.includes("proposed");
  asking ??= await reader(supabase);
  const all = typed(supabase).from("plan").select("*", { count: "exact" }).in("status", statuses);
  // "now" is the database's time: the caller's clock may be wrong.
  const open = expired === false ? "expires_at.is.null,expires_at.gt.now" : undefined;
  let query =
    owner && asking.id !== null
      ? whose(all, { ...asking, id: asking.id }, owner, decides, open)
      : named(all, asking, { userId, teamId }, open);
  if (expired) query = query.lte("expires_at", "now");
  const found = await query
    // Of created_at in the order of its indexes. It is never null.
    .order(waiting ? "created_at" : "decided_at", {
      ascending: false,
      ...(!waiting && { nullsFirst: false }),
    })
    .order("id", { ascending: false })
    .range((page - 1) * limit, page * limit - 1);
  // PostgREST refuses a page behind the last one.
  if (found.status === 416) {
    const same = { status, expired, userId, teamId, owner, mayDecide: decides, reader: asking };
    return { plans: [], count: (await listProposals(supabase, { ...same, limit: 1 })).count };
  }
  const { data, count } = checked(found);
  const plans = (data as Plan[]).map((plan) => ({ ...plan, may_decide: mayDecide(asking, plan) }));
  return { plans, count: count ?? data.length };
}

/** One version of a session, or null. */
export async function getPlan(
  supabase: Supabase,
  { sessionId, version, userId }: PlanVersion & Owned,
): Promise<Plan | null> {
  assertVersion(sessionId, version);
  const match = { session_id: sessionId, version, ...(userId && { user_id: userId }) };
  const found = checked(await typed(supabase).from("plan").select().match(match).limit(2)).data as Plan[];
  // A colleague has a session of the same name, too.
  if (found.length > 1) return getPlan(supabase, { sessionId, version, userId: await ownId(supabase) });
  return found[0] ?? null;
}

/**
 * The agent of a planning session with the plan that it is built from, the proposal that waits, and the session's plans,
 * newest first: as many as the Data API returns at once.
 */
export async function getPlanningSession(
  supabase: Supabase,
  sessionId: string,
  { userId }: Owned = {},
): Promise<{ agent: Agent | null; approved: Plan | null; proposal: Plan | null; plans: Plan[] }> {
  const db = typed(supabase);
  const owner = userId ?? (await callerId(supabase));
  const match = { session_id: sessionId, ...(owner && { user_id: owner }) };
  const plans = () => db.from("plan").select().match(match).order("version", { ascending: false });
  const [found, newest, proposal] = await Promise.all([
    db.from("agent").select("*,plan!agent_plan_fkey(*)").match(match).maybeSingle(),
    plans(),
    // Asked for, since a list is cut at the Data API's maximum.
    plans().eq("status", "proposed").limit(1).maybeSingle(),
  ]);
  const { plan: approved, ...agent } = checked(found).data ?? { plan: null };
  return {
    agent: approved && (agent as Agent | null),
    approved: approved as Plan | null,
    proposal: checked(proposal).data as Plan | null,
    plans: checked(newest).data as Plan[],
  };
}

/**
 * The newest version below this one that the human approved, sent back or rejected: what a reviewer may compare with.
 * Never one that was withdrawn, or replaced before a decision.
 */
export async function getPreviousDecision(
  supabase: Supabase,
  { user_id, session_id, version }: Pick<Plan, "user_id" | "session_id" | "version">,
): Promise<Plan | null> {
  const query = typed(supabase)
    .from("plan")
    .select()
    .match({ user_id, session_id })
    .lt("version", version)
    .not("decided_at", "is", null)
    // The planner withdraws: the human may never have seen it.
    .neq("status", "withdrawn")
    .order("version", { ascending: false })
    .limit(1)
    .maybeSingle();
  return checked(await query).data as Plan | null;
}

/** The document's path contains the session's id, and a version that is not an integer would not reach the function. */
export function assertVersion(sessionId: string, version: number): void {
  if (!SESSION_ID.test(sessionId))
    throw new GreenlightError("invalid_session_id", {
      details: "A session id has 1 to 128 letters, digits, hyphens and underscores.",
    });
  if (!Number.isInteger(version) || version < 1 || version > MAX_INTEGER)
    throw new GreenlightError("invalid_version", { details: "A version is a whole number from 1." });
}

function remarkArguments({ comment, comments }: Remarks) {
  assertText(comment);
  for (const { exact, body } of comments ?? []) {
    assertText(exact);
    assertText(body);
  }
  return {
    ...(comment !== undefined && { comment }),
    // The database takes these keys only; a page may keep more with a comment.
    ...(comments && {
      comments: comments.map(({ start, end, exact, body }) => ({ start, end, exact, body })),
    }),
  };
}

/** By the database's rule. */
export function isBlank(text: string): boolean {
  return text.replace(EDGES, "") === "";
}

/** By the database's rule, before the document is uploaded. */
function assertTitle(title: string): void {
  assertText(title);
  const trimmed = title.replace(EDGES, "");
  if (CONTROL.test(trimmed) || !SEEN.test(trimmed) || Array.from(trimmed).length > MAX_TITLE_LENGTH)
    throw new GreenlightError("invalid_title", {
      details:
        "A title has 1 to 500 characters on one line, one that can be seen, and no control characters.",
    });
}
