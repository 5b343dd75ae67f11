"use client";

import { CircleAlert } from "lucide-react";
import Link from "next/link";
import { errorMessage, isRetryable, type ErrorCode } from "@/lib/greenlight/errors";

interface Props {
  code: ErrorCode;
  sessionId: string;
  agentId?: string | undefined;
  /** One above the newest known version. */
  nextVersion?: number;
  onRetry: () => void;
  onApproveAs?: (version: number) => void;
  onRestore: () => void;
  onNewPlan?: () => void;
  onEdit?: () => void;
}

/** Why an approval or another decision failed, and what the user can do next. */
export function ApprovalError({
  code,
  sessionId,
  agentId,
  nextVersion,
  onRetry,
  onApproveAs,
  onRestore,
  onNewPlan,
  onEdit,
}: Props) {
  const isTaken = code === "plan_stale" || code === "plan_conflict" || code === "plan_decided";
  const isMalformed = code === "invalid_title" || code === "document_too_large" || code === "invalid_request";
  return (
    <div className="callout" role="alert">
      <CircleAlert aria-hidden />
      <p>{errorMessage(code)}</p>
      <div className="callout-actions">
        {isTaken && onApproveAs && nextVersion !== undefined && (
          <button
            type="button"
            className="button primary"
            onClick={() => {
              onApproveAs(nextVersion);
            }}
          >
            Approve as version {nextVersion}
          </button>
        )}
        {isTaken && agentId && (
          <Link className="button" href={`/build/${agentId}`}>
            See what was approved
          </Link>
        )}
        {code === "agent_deleted" && (
          <button type="button" className="button primary" onClick={onRestore}>
            Restore the agent and approve
          </button>
        )}
        {code === "agent_archived" && onNewPlan && (
          <button type="button" className="button primary" onClick={onNewPlan}>
            Start a new plan from this text
          </button>
        )}
        {(code === "not_authenticated" || code === "human_required") && (
          <Link
            className="button primary"
            href={`/sign-in?next=${encodeURIComponent(`/build?session=${sessionId}`)}`}
          >
            Sign in
          </Link>
        )}
        {isMalformed && onEdit && (
          <button type="button" className="button" onClick={onEdit}>
            Edit the plan
          </button>
        )}
        {isRetryable(code) && (
          <button type="button" className="button" onClick={onRetry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}
