import { useRef, useState } from "react";
import { approvePlan, sha256, type Approval } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { markSent, type Draft } from "./draft";
import { restoreAgentOf } from "./restore-agent";
import type { Session } from "./session";
import { useSha256 } from "./use-sha256";

export type Step = "sending" | "uploading" | "creating";

/** The user's own text, as it is approved. */
export interface OwnVersion {
  sessionId: string;
  version: number;
  title: string;
  content: string;
  /** Of what is on the screen. */
  sha256: string;
}

/** Approves a text that was not proposed. Throws an error with one of the codes. */
export type ApproveOwn = (plan: OwnVersion, onStep: (step: Step) => void) => Promise<Approval>;

export const approveDirectly: ApproveOwn = async (plan, onStep) =>
  approvePlan(await loadClient(), { ...plan, onStep });

interface Options {
  userId: string;
  sessionId: string;
  /** Undefined while something else is shown. */
  draft: Draft | undefined;
  session: Session;
  approveOwn: ApproveOwn;
  onSave: (draft: Draft) => void;
  onApproved: (approval: Approval) => void;
  onDecided: () => void;
  reload: () => Promise<unknown>;
}

/** The user's own text, approved directly: opened from a file, or edited from a stored version. */
export function useOwnVersion(options: Options) {
  const { userId, sessionId, draft, session, approveOwn, onSave, onApproved, onDecided, reload } = options;
  const hash = useSha256(draft?.content);
  const [step, setStep] = useState<Step | "opening" | null>(null);
  const isRunning = useRef(false);
  const [problem, setProblem] = useState<ErrorCode | null>(null);
  if (!draft) return;

  const { proposal, approved } = session;
  const newest = session.plans[0]?.version ?? 0;
  const isApproved =
    approved?.version === draft.version &&
    approved.title === draft.title &&
    approved.document_sha256 === hash;
  const older = proposal && proposal.version < draft.version ? proposal : approved;

  async function approve(draft: Draft) {
    // A ref and not the state: a double click comes before the next render.
    if (isRunning.current) return;
    isRunning.current = true;
    setProblem(null);
    setStep("sending");
    try {
      const { title, content, version } = draft;
      onSave(markSent(draft));
      const seen = hash ?? (await sha256(content));
      const approval = await approveOwn({ sessionId, title, content, version, sha256: seen }, setStep);
      setStep("opening");
      onApproved(approval);
      await reload();
      onDecided();
    } catch (error) {
      // What the page offers next may depend on what was approved meanwhile.
      await reload();
      setProblem("subtle" in crypto ? errorCode(error) : "insecure_context");
    }
    isRunning.current = false;
    setStep(null);
  }

  async function restore(draft: Draft) {
    try {
      await restoreAgentOf(userId, sessionId);
    } catch (error) {
      setProblem(errorCode(error));
      return;
    }
    await approve(draft);
  }

  return {
    draft,
    hash,
    newest,
    isApproved,
    base: isApproved ? undefined : (older ?? undefined),
    step,
    problem,
    clearProblem: () => {
      setProblem(null);
    },
    approve: (version = draft.version) => approve({ ...draft, version }),
    restore: () => restore(draft),
  };
}

export type OwnVersionState = NonNullable<ReturnType<typeof useOwnVersion>>;
