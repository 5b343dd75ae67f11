import { useRef, useState } from "react";
import { useDocument } from "@/components/greenlight/document/use-document";
import { useExpired } from "@/hooks/use-expired";
import { approvePlan, rejectPlan, requestChanges, type Approval } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { restoreAgentOf } from "./restore-agent";
import { findPlan, type Session } from "./session";
import { usePreviousDecision } from "./use-previous-decision";

export type Decision = "approve" | "request_changes" | "reject";

interface Failed {
  planId: string | undefined;
  code: ErrorCode;
  retry: () => void;
}

interface Options {
  sessionId: string;
  /** Undefined while something else is shown. */
  planId: string | undefined;
  session: Session;
  onApproved: (approval: Approval) => void;
  onDecided: () => void;
  reload: () => Promise<unknown>;
}

/** A stored version: the user decides on it while it is proposed, and can read it afterwards. */
export function useStoredVersion({ sessionId, planId, session, onApproved, onDecided, reload }: Options) {
  const found = findPlan(session, planId);
  const [last, setLast] = useState(found);
  if (found && found !== last) setLast(found);
  // A plan that no longer exists (its agent was deleted, or it was purged) stays on the screen with a message.
  const plan = found ?? (last?.id === planId ? last : undefined);
  const document = useDocument(plan);
  const isOpen = found?.status === "proposed";
  const base = usePreviousDecision(isOpen ? found : undefined);
  const hasExpired = useExpired(plan?.expires_at ?? null);
  const [running, setRunning] = useState<Decision | null>(null);
  const isRunning = useRef(false);
  const [failed, setFailed] = useState<Failed | null>(null);
  const problem = failed?.planId === planId ? failed : null;
  if (!plan) return;

  const { version } = plan;

  async function decide(decision: Decision, comment?: string) {
    // A ref and not the state: a double click comes before the next render.
    if (isRunning.current) return;
    isRunning.current = true;
    setRunning(decision);
    setFailed(null);
    try {
      const client = await loadClient();
      if (decision === "approve") {
        if (!document.data) throw new Error("Nothing is on the screen");
        // One call, with the hash of the bytes on the screen.
        const { bytes: content, sha256 } = document.data;
        onApproved(await approvePlan(client, { sessionId, version, content, sha256 }));
      } else if (decision === "request_changes")
        await requestChanges(client, { sessionId, version, comment: comment ?? "" });
      else await rejectPlan(client, { sessionId, version, comment });
      await reload();
      onDecided();
    } catch (error) {
      await reload();
      setFailed({ planId, code: errorCode(error), retry: () => void decide(decision, comment) });
    }
    isRunning.current = false;
    setRunning(null);
  }

  async function restore() {
    try {
      await restoreAgentOf(sessionId);
      setFailed(null);
      await reload();
    } catch (error) {
      setFailed({ planId, code: errorCode(error), retry: () => void restore() });
    }
  }

  return {
    plan,
    /** Whether it was deleted since. */
    isGone: !found,
    isOpen,
    /** When it expired, if the page's clock knows it. */
    expiredAt: hasExpired ? plan.expires_at : null,
    isExpired: hasExpired || problem?.code === "plan_expired",
    /** Whether the agent is built from it now. */
    isCurrent: found !== undefined && found.id === session.agent?.plan_id,
    isReadable: document.data?.verified === true && document.data.content !== null,
    document,
    base,
    running,
    problem:
      problem && problem.code !== "plan_expired" && (isOpen || problem.code === "agent_deleted")
        ? problem
        : null,
    decide,
    restore,
  };
}

export type StoredVersion = NonNullable<ReturnType<typeof useStoredVersion>>;
