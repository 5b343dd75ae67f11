"use client";

import { Check, LoaderCircle } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import type { Step } from "@/lib/approval";
import { editDraft, markSent, openDraft, useDraft, type Draft } from "@/lib/draft";
import { newSessionId } from "@/lib/paths";
import type { Session } from "@/lib/plans";
import { restoreAgentOf } from "@/lib/restore-agent";
import { useApproval } from "@/lib/use-approval";
import { useSha256 } from "@/lib/use-sha256";
import { ApprovalError } from "./approval-error";
import { Callout } from "./callout";
import type { PlanPageProps } from "./plan-page";
import { useUser } from "./user";

const STEPS: Record<Step | "opening", string> = {
  sending: "Uploading and creating the agent…",
  uploading: "Uploading the document…",
  creating: "Creating the agent…",
  opening: "Opening the agent…",
};

interface Props {
  sessionId: string;
  /** Undefined while something else is shown. */
  draft: Draft | undefined;
  session: Session;
  tab: string;
  onTab: (tab: string) => void;
  onSave: (draft: Draft) => void;
  onDiscard: () => void;
  onShow: (planId: string) => void;
  onReload: () => Promise<unknown>;
}

/** The user's own text, approved directly: opened from a file, or edited from a stored version. */
export function useDraftReview({
  sessionId,
  draft,
  session,
  tab,
  onTab,
  onSave,
  onDiscard,
  onShow,
  onReload,
}: Props): PlanPageProps | undefined {
  const user = useUser();
  const router = useRouter();
  const [freshId] = useState(newSessionId);
  const fresh = useDraft(user.id, freshId);
  const hash = useSha256(draft?.content);
  const { step, problem, setProblem, approve } = useApproval(sessionId, onReload);

  if (!draft) return;
  const shown = draft;
  const { proposal, approved } = session;
  const newest = session.plans[0]?.version ?? 0;
  const base = (proposal && proposal.version < draft.version ? proposal : approved) ?? undefined;
  const isApproved =
    approved?.version === draft.version &&
    approved.title === draft.title &&
    approved.document_sha256 === hash;

  async function handleApprove(version = shown.version) {
    const sent = markSent({ ...shown, version });
    onSave(sent);
    if (await approve(sent, hash)) router.refresh();
  }

  async function handleRestore() {
    if (await restoreAgentOf(sessionId)) await handleApprove();
  }

  return {
    title: draft.title,
    version: draft.version,
    content: draft.content,
    hash,
    facts: isApproved ? (
      <span className="fact good">
        <Check aria-hidden /> Approved
      </span>
    ) : (
      <span className="fact">
        {approved ? `Version ${approved.version} is approved` : "Not approved yet"}
      </span>
    ),
    actions: (isShown) => (
      <>
        {isApproved && session.agent && !step ? (
          <Link className="button primary" href={`/build/${session.agent.id}`}>
            Open the agent
          </Link>
        ) : (
          <button
            type="button"
            className="button primary"
            disabled={step !== null || draft.content === "" || !isShown}
            onClick={() => void handleApprove()}
          >
            {step && <LoaderCircle className="spinner" aria-hidden />}
            {step ? STEPS[step] : "Approve plan"}
          </button>
        )}
        <p className="visually-hidden" role="status">
          {step && STEPS[step]}
        </p>
      </>
    ),
    base: isApproved ? undefined : base,
    tab,
    onTab,
    onEdit:
      step === null
        ? (change) => {
            setProblem(null);
            onSave(editDraft(draft, change, newest));
          }
        : undefined,
    notices: (
      <>
        {proposal && !step && (
          <Callout
            tone="info"
            text={
              proposal.version < draft.version
                ? `This is your own text. Version ${proposal.version} is proposed and waits for your decision.`
                : `Version ${proposal.version} was proposed while you were editing.`
            }
          >
            <button
              type="button"
              className="button"
              onClick={() => {
                onShow(proposal.id);
              }}
            >
              Show version {proposal.version}
            </button>
            <button type="button" className="button quiet" onClick={onDiscard}>
              Discard my edits
            </button>
          </Callout>
        )}
        {problem && (
          <ApprovalError
            code={problem}
            sessionId={sessionId}
            agentId={session.agent?.id}
            nextVersion={Math.max(newest, draft.version) + 1}
            onRetry={() => void handleApprove()}
            onApproveAs={(version) => void handleApprove(version)}
            onRestore={() => void handleRestore()}
            onNewPlan={() => {
              fresh.save(openDraft(draft.title, draft.content));
              router.push(`/build?session=${freshId}`);
            }}
            onEdit={() => {
              onTab("edit");
            }}
          />
        )}
      </>
    ),
  };
}
