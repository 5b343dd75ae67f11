"use client";

import { CircleAlert } from "lucide-react";
import Link from "next/link";
import { explain, isRetryable, type ErrorCode } from "@/lib/errors";

interface Props {
  code: ErrorCode;
  /** The version above all that were approved. */
  nextVersion: number;
  agentId: string | undefined;
  signIn: string;
  onApprove: (version?: number) => void;
  onRestore: () => void;
  onStartAnew: () => void;
  onEdit: () => void;
}

/** Why the approval came to nothing, and what leads on from there. */
export function WayOut({
  code,
  nextVersion,
  agentId,
  signIn,
  onApprove,
  onRestore,
  onStartAnew,
  onEdit,
}: Props) {
  return (
    <div className="callout" role="alert">
      <CircleAlert aria-hidden />
      <p>{explain(code)}</p>
      <div className="callout-actions">
        {(code === "plan_stale" || code === "plan_conflict") && (
          <>
            <button
              type="button"
              className="button primary"
              onClick={() => {
                onApprove(nextVersion);
              }}
            >
              Approve as version {nextVersion}
            </button>
            {agentId && (
              <Link className="button" href={`/build/${agentId}`}>
                See what was approved
              </Link>
            )}
          </>
        )}
        {code === "agent_deleted" && (
          <button type="button" className="button primary" onClick={onRestore}>
            Restore the agent and approve
          </button>
        )}
        {code === "agent_archived" && (
          <button type="button" className="button primary" onClick={onStartAnew}>
            Start a new plan from this text
          </button>
        )}
        {code === "not_authenticated" && (
          <Link className="button primary" href={signIn}>
            Sign in
          </Link>
        )}
        {(code === "invalid_title" || code === "document_too_large" || code === "invalid_request") && (
          <button type="button" className="button" onClick={onEdit}>
            Edit the plan
          </button>
        )}
        {isRetryable(code) && (
          <button
            type="button"
            className="button"
            onClick={() => {
              onApprove();
            }}
          >
            Try again
          </button>
        )}
      </div>
    </div>
  );
}
