import type { PostgrestError } from "@supabase/supabase-js";

/** The codes of the database's refusals. `docs/errors.md` says what each one means. */
export type DatabaseErrorCode =
  | "not_authenticated"
  | "human_required"
  | "step_up_required"
  | "approver_required"
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
  | "invalid_comments"
  | "invalid_message"
  | "invalid_team_id"
  | "invalid_status"
  | "invalid_worker"
  | "invalid_max_builds"
  | "invalid_subscriber"
  | "invalid_max_notifications"
  | "invalid_retry_seconds"
  | "invalid_lease_seconds"
  | "invalid_progress"
  | "invalid_retry"
  | "invalid_result";

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

// Raised by the database's functions: the message is the code.
const REFUSAL = /^PT4\d\d$/;
// PostgREST without a database, without its schema cache or without a free connection; Postgres shutting down, starting,
// out of connections, or lost. An empty code comes from PostgREST (HTTP 400) if Postgres was lost during the call, and
// from postgrest-js if there was no answer.
const UNAVAILABLE = /^(|PGRST00[0-3]|57P0[1-3]|53300|08...)$/;
const STATEMENT_TIMEOUT = "57014";
// What does not parse as the type of its argument: an id that is not a UUID, a character that Postgres cannot store.
const NOT_ITS_TYPE = /^22(P02|P05|003|007|008)$/;

/** The error that every function of this package throws. */
export class GreenlightError extends Error {
  override readonly name = "GreenlightError";
  readonly code: ErrorCode;
  /** What was wrong, in a sentence. */
  readonly details: string | null;
  /** What to do about it. */
  readonly hint: string | null;
  /** Whether the same call may succeed later. It is always safe to repeat a call. */
  readonly retryable: boolean;
  /** supabase-js's own error, if there is one. */
  override readonly cause: unknown;

  constructor(
    code: ErrorCode,
    {
      details = null,
      hint = null,
      retryable,
      cause,
    }: { details?: string | null; hint?: string | null; retryable?: boolean; cause?: unknown } = {},
  ) {
    super(details ? `${code}: ${details}` : code);
    this.code = code;
    this.details = details;
    this.hint = hint;
    this.retryable = retryable ?? (code === "upstream_unavailable" || code === "upstream_timeout");
    this.cause = cause;
  }
}

/** The error for an answer of the Data API. */
export function databaseError(error: Partial<PostgrestError>, status: number): GreenlightError {
  const { code, message, details = null, hint = null } = error;
  if (code !== undefined && REFUSAL.test(code))
    return new GreenlightError(message as DatabaseErrorCode, { details, hint, cause: error });
  if (code === STATEMENT_TIMEOUT) return new GreenlightError("upstream_timeout", { cause: error });
  if (code !== undefined && UNAVAILABLE.test(code))
    return new GreenlightError("upstream_unavailable", { cause: error });
  if (code !== undefined && NOT_ITS_TYPE.test(code))
    return new GreenlightError("invalid_request", { details: message ?? null, cause: error });
  return gatewayError(status, error);
}

/** The error for an answer of storage, which answers nearly every error as a 400, with the real status in the body. */
export function storageError(error: {
  message: string;
  status?: number | undefined;
  statusCode?: string | undefined;
}): GreenlightError {
  const inTheBody = Number(error.statusCode);
  const status = inTheBody > 0 ? inTheBody : (error.status ?? 0);
  switch (status) {
    case 0:
      return new GreenlightError("upstream_unavailable", { cause: error });
    case 404:
      return new GreenlightError("document_not_found", { details: error.message, cause: error });
    case 413:
      return new GreenlightError("document_too_large", { details: error.message, cause: error });
    default:
      // Without its database it answers 500 or 544.
      if (status >= 500 && status !== 504)
        return new GreenlightError("upstream_unavailable", { details: error.message, cause: error });
      return gatewayError(status, error);
  }
}

/** The error for Auth's answer to getClaims(). Without a session there is no error. */
export function authError(
  error: { name: string; message: string; status?: number | undefined } | null,
): GreenlightError {
  if (error?.name === "AuthRetryableFetchError" || error?.status === 429)
    return new GreenlightError("upstream_unavailable", { cause: error });
  return new GreenlightError("not_authenticated", {
    details: error ? error.message : "The client has no session.",
    cause: error,
  });
}

function gatewayError(status: number, error: { message?: string }): GreenlightError {
  const details = `Supabase answered ${status.toString()}: ${error.message ?? ""}`;
  if (status === 401) return new GreenlightError("not_authenticated", { details, cause: error });
  if (status === 408 || status === 504)
    return new GreenlightError("upstream_timeout", { details, cause: error });
  if (status === 429 || status === 502 || status === 503)
    return new GreenlightError("upstream_unavailable", { details, cause: error });
  // If a success cannot be read, the call may have taken effect; it is safe to repeat.
  return new GreenlightError("upstream_error", {
    details,
    retryable: status >= 500 || status < 300,
    cause: error,
  });
}
