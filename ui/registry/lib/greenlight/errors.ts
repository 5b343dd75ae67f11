/**
 * The message for each code of the database and the service, and for the few errors that only occur in a browser.
 * One sentence says what happened, one says what to do.
 */
export const ERROR_MESSAGES = {
  not_authenticated: "You are signed out. Sign in again: your draft is kept.",
  human_required:
    "Only you can decide this. Sign in to this app yourself: an app that acts for you cannot decide.",
  step_up_required:
    "To decide this you have to sign in again, or confirm it is you with your second factor. Your draft is kept.",
  approver_required: "Only an approver of this plan's team can do this. Ask one of them.",

  agent_not_found: "This agent does not exist, or it is not yours.",
  document_not_found: "The document is not in storage any more. Approve the plan again to store it.",
  plan_not_found: "This plan does not exist, or it is not yours.",

  document_conflict:
    "Other content is stored in this document's place, so nothing was approved. Change the text, or start a new plan from it.",
  plan_conflict:
    "This version already exists with another text, perhaps from another tab. Approve yours as the next version.",
  plan_stale: "There is a newer version of this plan. Look at it, or approve yours as the next version.",
  plan_decided: "A decision on this version was already made, and it is final.",
  plan_expired: "This proposal has expired, so it cannot be approved any more. Ask for a new one.",
  agent_archived: "The agent of this plan is archived, which is final. Start a new plan from this text.",
  agent_deleted: "The agent of this plan was deleted. Restore it first, then approve.",
  illegal_transition:
    "The agent's status has changed, so this is no longer possible. The page now shows the current status.",

  invalid_session_id:
    "The id of a planning session has at most 128 letters, digits, hyphens and underscores.",
  invalid_version: "The version must be a whole number from 1.",
  invalid_title: "The title needs 1 to 500 characters in a single line.",
  invalid_comment: "The comment needs 1 to 4,000 characters.",
  invalid_comments: "The comments on passages are not valid.",
  invalid_message: "The planner's message needs 1 to 4,000 characters.",
  invalid_team_id: "This plan cannot be proposed to this team. Reload the page and try again.",
  invalid_document_sha256: "The document's fingerprint could not be read. Reload the page and approve again.",
  invalid_document_url: "The document's address was not accepted. Reload the page and approve again.",
  invalid_expires_at: "A proposal must expire in the future.",
  invalid_status: "An agent cannot have this status. Reload the page and try again.",
  invalid_plan_id: "This plan does not exist, or it is not yours.",
  invalid_user_id: "There is no such user.",
  invalid_request:
    "The plan could not be sent as it is. Look for invisible control characters in the title or the document.",

  document_too_large: "The document must be between 1 byte and 1 MiB. Shorten it, or split the plan.",
  document_changed:
    "The text that arrived is not the text that you see, so nothing was approved. Perhaps a browser extension changed it. Try again.",
  unsupported_media_type:
    "The approval service did not understand the request. Reload the page and try again.",

  upstream_unavailable: "The approval service is down or busy. Nothing is lost: try again in a moment.",
  upstream_timeout: "The service did not answer in time. Try again: nothing will be approved twice.",
  upstream_error: "Something went wrong on our side. Try again, and report it if it happens again.",
  internal_error: "The service failed. Nothing is lost: try again, and report it if it happens again.",

  // These occur only in this app.
  insecure_context:
    "This page was not loaded over https, so the browser cannot compute the plan's fingerprint. Open it over https.",
  unknown: "Something went wrong. Nothing is lost: try again.",
} as const;

export type ErrorCode = keyof typeof ERROR_MESSAGES;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERROR_MESSAGES, code);
}

/** The message for a code; an unknown code gets the general one. */
export function errorMessage(code: string | undefined): string {
  return ERROR_MESSAGES[isErrorCode(code) ? code : "unknown"];
}

/** Whether the same request may succeed if it is sent again. */
export function isRetryable(code: ErrorCode): boolean {
  return (
    code.startsWith("upstream_") ||
    code === "internal_error" ||
    code === "document_changed" ||
    code === "document_not_found" ||
    code === "unknown"
  );
}

/** The code of an error that Greenlight's client throws, or another one that has a code of ours. */
export function errorCode(error: unknown): ErrorCode {
  return error instanceof Error && "code" in error && isErrorCode(error.code) ? error.code : "unknown";
}
