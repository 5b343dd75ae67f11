/** @import { PostgrestError } from "@supabase/supabase-js" */
/** @import { DatabaseErrorCode, ErrorCode } from "./types.js" */

// Raised by the database's functions: the message is the code.
const REFUSAL = /^PT4\d\d$/;
// PostgREST without a database, without its schema cache or without a free connection; Postgres shutting down, starting,
// out of connections, or lost. An empty code comes from PostgREST (HTTP 400) if Postgres was lost during the call, and
// from postgrest-js if there was no answer.
const UNAVAILABLE = /^(|PGRST00[0-3]|57P0[1-3]|53300|08...)$/;
const STATEMENT_TIMEOUT = "57014";
// What does not parse as the type of its argument: an id that is not a UUID, a character that Postgres cannot store.
const NOT_ITS_TYPE = /^22(P02|P05|003|007|008)$/;

export class GreenlightError extends Error {
  /** @readonly @override @type {"GreenlightError"} */
  name = "GreenlightError";

  /**
   * @param {ErrorCode} code
   * @param {{ details?: string | null, hint?: string | null, retryable?: boolean, cause?: unknown }} options
   */
  constructor(code, { details = null, hint = null, retryable, cause } = {}) {
    super(details ? `${code}: ${details}` : code);
    this.code = code;
    this.details = details;
    this.hint = hint;
    this.retryable = retryable ?? (code === "upstream_unavailable" || code === "upstream_timeout");
    this.cause = cause;
  }
}

/**
 * The error for an answer of the Data API.
 *
 * @param {Partial<PostgrestError>} error
 * @param {number} status
 */
export function databaseError(error, status) {
  const { code, message, details = null, hint = null } = error;
  if (code !== undefined && REFUSAL.test(code))
    return new GreenlightError(/** @type {DatabaseErrorCode} */ (message), { details, hint, cause: error });
  if (code === STATEMENT_TIMEOUT) return new GreenlightError("upstream_timeout", { cause: error });
  if (code !== undefined && UNAVAILABLE.test(code))
    return new GreenlightError("upstream_unavailable", { cause: error });
  if (code !== undefined && NOT_ITS_TYPE.test(code))
    return new GreenlightError("invalid_request", { details: message ?? null, cause: error });
  return gatewayError(status, error);
}

/**
 * The error for an answer of storage, which answers nearly every error as a 400, with the real status in the body.
 *
 * @param {{ message: string, status?: number | undefined, statusCode?: string | undefined }} error
 */
export function storageError(error) {
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

/**
 * The error for Auth's answer to getClaims(). Without a session there is no error.
 *
 * @param {{ name: string, message: string, status?: number | undefined } | null} error
 */
export function authError(error) {
  if (error?.name === "AuthRetryableFetchError" || error?.status === 429)
    return new GreenlightError("upstream_unavailable", { cause: error });
  return new GreenlightError("not_authenticated", {
    details: error ? error.message : "The client has no session.",
    cause: error,
  });
}

/**
 * @param {number} status
 * @param {{ message?: string }} error
 */
function gatewayError(status, error) {
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
