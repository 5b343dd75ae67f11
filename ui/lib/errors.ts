/**
 * What the app says about each code that the database and the service answer with, and about the few things that
 * only a browser can meet. One sentence of what happened, one of what to do.
 */
const SENTENCES = {
  not_authenticated: "You are signed out. Sign in again: your draft is kept.",

  agent_not_found: "This agent does not exist, or it is not yours.",
  document_not_found: "The document is not in storage any more. Approve the plan again to store it.",
  plan_not_found: "This plan does not exist, or it is not yours.",

  plan_conflict:
    "Another text was approved under this version, perhaps in another tab. Approve yours as the next version.",
  plan_stale:
    "A newer version of this plan was approved in the meantime. Look at it, or approve yours on top of it.",
  agent_archived: "The agent of this plan is archived, and that is final. Start a new plan from this text.",
  agent_deleted: "The agent of this plan was deleted. Restore it first, then approve.",
  illegal_transition:
    "The agent's status has changed, and this is not possible from there. The page is up to date now.",

  invalid_session_id:
    "The address names no planning session: an id has up to 128 letters, digits, hyphens and underscores.",
  invalid_version: "The version has to be a whole number from 1.",
  invalid_title: "The title needs 1 to 500 characters in a single line.",
  invalid_document_sha256: "The document's fingerprint could not be read. Reload the page and approve again.",
  invalid_document_url: "The document's address was not accepted. Reload the page and approve again.",
  invalid_status: "An agent cannot have this status. Reload the page and try again.",
  invalid_plan_id: "The agent cannot be set to active without naming the plan that was built.",
  invalid_request:
    "The plan could not be sent as it is. Look for invisible control characters in the title or the document.",

  document_too_large: "The document has to be between 1 byte and 1 MiB. Shorten it, or split the plan.",
  document_changed:
    "What arrived is not the text that you see, so nothing was approved. Something changed it on the way, such as a browser extension. Try again.",
  unsupported_media_type:
    "The approval service did not understand the request. Reload the page and try again.",

  upstream_unavailable: "The approval service is down or busy. Nothing is lost: try again in a moment.",
  upstream_timeout: "The service did not answer in time. Try again: nothing will be approved twice.",
  upstream_error:
    "The service got an answer that makes no sense. Try again, and report it if it happens again.",
  internal_error: "The service failed. Nothing is lost: try again, and report it if it happens again.",

  // Seen by this app only.
  insecure_context:
    "This page was not loaded securely, so the browser cannot fingerprint the plan. Open it by https.",
  unknown: "Something went wrong. Nothing is lost: try again.",
} as const;

export type ErrorCode = keyof typeof SENTENCES;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(SENTENCES, code);
}

/** The sentence for a code; one that is not known here gets the general one. */
export function explain(code: string | undefined): string {
  return SENTENCES[isErrorCode(code) ? code : "unknown"];
}

/** Whether the very same request may succeed if it is sent again. */
export function isRetryable(code: ErrorCode): boolean {
  return (
    code.startsWith("upstream_") ||
    code === "internal_error" ||
    code === "document_changed" ||
    code === "document_not_found" ||
    code === "unknown"
  );
}

/** The code in an answer of the Data API: our own message, or what PostgREST says on its own account. */
export function databaseErrorCode(error: { code: string; message: string }): ErrorCode {
  if (isErrorCode(error.message)) return error.message;
  // 42501 is anon's, who may call nothing; PGRST30x are tokens that are missing, broken or expired.
  if (error.code === "42501" || /^PGRST30\d$/.test(error.code)) return "not_authenticated";
  // postgrest-js gives no code where there was no answer at all.
  if (error.code === "") return "upstream_unavailable";
  return "upstream_error";
}

/** The result of an action that came to nothing. */
export function failure(code: ErrorCode) {
  return { success: false, code, error: explain(code) };
}
