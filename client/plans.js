/** @import { Agent, Plan } from "./types.js" */
/** @import * as greenlight from "./types.js" */

import { call, checked, typed } from "./data-api.js";
import { assertText, read, store } from "./documents.js";
import { GreenlightError } from "./errors.js";

const SESSION_ID = /^[A-Za-z0-9_-]{1,128}$/;
const MAX_INTEGER = 2 ** 31 - 1;

const WHITE_SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const EDGES = new RegExp(`^[${WHITE_SPACE}]+|[${WHITE_SPACE}]+$`, "gu");
// With line breaks and bidi controls.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/u;
// Not of the categories C and Z, and not blank: the ranges of the database.
const SEEN =
  /[^\u0000-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e007f}]/u;
const MAX_TITLE = 500;

/** @type {typeof greenlight.approvePlan} */
export async function approvePlan(
  supabase,
  { sessionId, version, title, content, sha256: expected, userId, onStep },
) {
  assertVersion(sessionId, version);
  if (title !== undefined) assertTitle(title);
  const { bytes, sha256 } = await read(content, expected);
  const approval = { session_id: sessionId, version, document_sha256: sha256 };
  if (title === undefined) {
    onStep?.("creating");
    return call(supabase, "approve_plan", approval);
  }
  onStep?.("uploading");
  return store(supabase, { userId, sessionId, bytes, sha256 }, (document_url) => {
    onStep?.("creating");
    return call(supabase, "approve_plan", { ...approval, title, document_url });
  });
}

/** @type {typeof greenlight.proposePlan} */
export async function proposePlan(
  supabase,
  { sessionId, version, title, content, sha256: expected, userId, expiresAt },
) {
  assertVersion(sessionId, version);
  assertTitle(title);
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
    }),
  );
}

/** @type {typeof greenlight.requestChanges} */
export async function requestChanges(supabase, { sessionId, version, comment }) {
  assertVersion(sessionId, version);
  assertText(comment);
  return call(supabase, "request_changes", { session_id: sessionId, version, comment });
}

/** @type {typeof greenlight.rejectPlan} */
export async function rejectPlan(supabase, { sessionId, version, comment }) {
  assertVersion(sessionId, version);
  assertText(comment);
  return call(supabase, "reject_plan", {
    session_id: sessionId,
    version,
    ...(comment !== undefined && { comment }),
  });
}

/** @type {typeof greenlight.withdrawPlan} */
export async function withdrawPlan(supabase, { sessionId, version, userId }) {
  assertVersion(sessionId, version);
  return call(supabase, "withdraw_plan", {
    session_id: sessionId,
    version,
    ...(userId && { user_id: userId }),
  });
}

/** @type {typeof greenlight.listProposals} */
export async function listProposals(supabase, { status = "proposed", expired, page = 1, limit = 50 } = {}) {
  const statuses = [status].flat();
  let query = typed(supabase).from("plan").select("*", { count: "exact" }).in("status", statuses);
  // "now" is the database's time: the caller's clock may be wrong.
  if (expired) query = query.lte("expires_at", "now");
  else if (expired === false) query = query.or("expires_at.is.null,expires_at.gt.now");
  const found = await query
    .order(statuses.includes("proposed") ? "created_at" : "decided_at", {
      ascending: false,
      nullsFirst: false,
    })
    .order("id", { ascending: false })
    .range((page - 1) * limit, page * limit - 1);
  // PostgREST refuses a page behind the last one.
  if (found.status === 416)
    return { plans: [], count: (await listProposals(supabase, { status, expired, limit: 1 })).count };
  const { data, count } = checked(found);
  return { plans: /** @type {Plan[]} */ (data), count: count ?? data.length };
}

/** @type {typeof greenlight.getPlan} */
export async function getPlan(supabase, { sessionId, version }) {
  assertVersion(sessionId, version);
  const query = typed(supabase).from("plan").select().match({ session_id: sessionId, version }).maybeSingle();
  return /** @type {Plan | null} */ (checked(await query).data);
}

/** @type {typeof greenlight.getPlanningSession} */
export async function getPlanningSession(supabase, sessionId) {
  const db = typed(supabase);
  const plans = () =>
    db.from("plan").select().eq("session_id", sessionId).order("version", { ascending: false });
  const [found, newest, proposal] = await Promise.all([
    db.from("agent").select("*,plan!agent_plan_fkey(*)").eq("session_id", sessionId).maybeSingle(),
    plans(),
    // Asked for, since a list is cut at the Data API's maximum.
    plans().eq("status", "proposed").limit(1).maybeSingle(),
  ]);
  const { plan: approved, ...agent } = checked(found).data ?? { plan: null };
  return {
    agent: /** @type {Agent | null} */ (approved && agent),
    approved: /** @type {Plan | null} */ (approved),
    proposal: /** @type {Plan | null} */ (checked(proposal).data),
    plans: /** @type {Plan[]} */ (checked(newest).data),
  };
}

/** @type {typeof greenlight.getPreviousDecision} */
export async function getPreviousDecision(supabase, { user_id, session_id, version }) {
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
  return /** @type {Plan | null} */ (checked(await query).data);
}

/**
 * The document's path contains the session's id, and a version that is not an integer would not reach the function.
 *
 * @param {string} sessionId
 * @param {number} version
 */
function assertVersion(sessionId, version) {
  if (!SESSION_ID.test(sessionId))
    throw new GreenlightError("invalid_session_id", {
      details: "A session id has 1 to 128 letters, digits, hyphens and underscores.",
    });
  if (!Number.isInteger(version) || version < 1 || version > MAX_INTEGER)
    throw new GreenlightError("invalid_version", { details: "A version is a whole number from 1." });
}

/**
 * By the database's rule, before the document is uploaded.
 *
 * @param {string} title
 */
function assertTitle(title) {
  assertText(title);
  const trimmed = title.replace(EDGES, "");
  if (CONTROL.test(trimmed) || !SEEN.test(trimmed) || Array.from(trimmed).length > MAX_TITLE)
    throw new GreenlightError("invalid_title", {
      details:
        "A title has 1 to 500 characters on one line, one that can be seen, and no control characters.",
    });
}
