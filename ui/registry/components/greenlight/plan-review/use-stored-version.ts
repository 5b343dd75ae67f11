import { useRef, useState } from "react";
import useLocalStorageState from "use-local-storage-state";
import { useDocument } from "@/components/greenlight/document/use-document";
import { useExpired } from "@/hooks/use-expired";
import { approvePlan, mayDecide, rejectPlan, requestChanges, type Approval } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { restoreAgentOf } from "./restore-agent";
import { findPlan, type Session } from "./session";
import { useComments } from "./use-comments";
import { usePreviousDecision } from "./use-previous-decision";

export type Decision = "approve" | "request_changes" | "reject";

/** What is said with a decision: of the whole, and whether the comments on passages go along. */
interface Words {
  comment?: string | undefined;
  withComments?: boolean;
}

interface Failed {
  planId: string | undefined;
  code: ErrorCode;
  /** What failed: without a decision, restoring the agent. */
  decision?: Decision;
  words?: Words;
}

interface Options {
  userId: string;
  sessionId: string;
  /** Undefined while something else is shown. */
  planId: string | undefined;
  session: Session;
  onApproved: (approval: Approval) => void;
  onDecided: () => void;
  reload: () => Promise<unknown>;
}

/** A stored version: the user decides on it while it is proposed, and can read it afterwards. */
export function useStoredVersion(options: Options) {
  const { userId, sessionId, planId, session, onApproved, onDecided, reload } = options;
  const found = findPlan(session, planId);
  const [last, setLast] = useState(found);
  if (found && found !== last) setLast(found);
  // A plan that no longer exists (its agent was deleted, or it was purged) stays on the screen with a message.
  const plan = found ?? (last?.id === planId ? last : undefined);
  const document = useDocument(plan);
  const isOpen = found?.status === "proposed";
  const base = usePreviousDecision(isOpen ? found : undefined);
  const hasExpired = useExpired(plan?.expires_at ?? null);
  const unsent = useComments({
    userId,
    plan,
    content: document.data?.verified ? (document.data.content ?? undefined) : undefined,
    isOpen,
    plans: session.plans,
  });
  // A comment that was not taken: the user may have to sign in again before.
  const [kept, keep, { removeItem: forget }] = useLocalStorageState<string>(
    `greenlight:comment:${userId}:${plan?.id ?? ""}`,
  );
  const [running, setRunning] = useState<Decision | null>(null);
  const isRunning = useRef(false);
  const [failed, setFailed] = useState<Failed | null>(null);
  const problem = failed?.planId === planId ? failed : null;
  if (!plan) return;

  const { version, user_id: owner } = plan;
  const named = { sessionId, version, userId: owner === userId ? undefined : owner };

  async function decide(decision: Decision, words: Words = {}) {
    // A ref and not the state: a double click comes before the next render.
    if (isRunning.current) return;
    isRunning.current = true;
    setRunning(decision);
    setFailed(null);
    const sending = words.withComments ? unsent.send() : undefined;
    const comments = sending && sending.comments.length > 0 ? sending.comments : undefined;
    const said = { comment: words.comment, comments };
    try {
      const client = await loadClient();
      if (decision === "approve") {
        if (!document.data) throw new Error("Nothing is on the screen");
        // One call, with the hash of the bytes on the screen.
        const { bytes: content, sha256 } = document.data;
        const approval = await approvePlan(client, { ...named, content, sha256, ...said });
        sending?.done();
        onApproved(approval);
      } else if (decision === "request_changes")
        await requestChanges(client, { ...named, ...said, comments: comments ?? [] });
      else await rejectPlan(client, { ...named, ...said });
      sending?.done();
      forget();
      await reload();
      onDecided();
    } catch (error) {
      if (words.comment !== undefined) keep(words.comment);
      await reload();
      setFailed({ planId, code: errorCode(error), decision, words });
    }
    isRunning.current = false;
    setRunning(null);
  }

  async function restore() {
    try {
      await restoreAgentOf(owner, sessionId);
      setFailed(null);
      await reload();
    } catch (error) {
      setFailed({ planId, code: errorCode(error) });
    }
  }

  return {
    plan,
    /** Whether it was deleted since. */
    isGone: !found,
    isOpen,
    /** Whether the user may decide on it, as far as the page knows. */
    mayDecide: mayDecide(session.people, plan),
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
        ? problem.code
        : null,
    /** Tries again what failed, with the comments as they are now. */
    retry: () => (failed?.decision ? decide(failed.decision, failed.words) : restore()),
    comments: unsent,
    /** The comment of a decision that failed. */
    kept,
    decide,
    restore,
  };
}

export type StoredVersion = NonNullable<ReturnType<typeof useStoredVersion>>;
