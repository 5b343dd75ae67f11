"use client";

import { approvePlan, rejectPlan, requestChanges, type Plan } from "greenlight-client";
import { Check, LoaderCircle, MessageSquareReply, X } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useRef, useState } from "react";
import { toast } from "sonner";
import { editDraft, openDraft, type Draft } from "@/lib/draft";
import { errorCode, errorMessage, type ErrorCode } from "@/lib/greenlight/errors";
import { findPlan, proposer, wasApproved, type Session } from "@/lib/plans";
import { restoreAgentOf } from "@/lib/restore-agent";
import { loadClient } from "@/lib/greenlight/load-client";
import { useDocument } from "@/lib/use-document";
import { useExpired } from "@/hooks/use-expired";
import { usePreviousDecision } from "@/lib/use-previous-decision";
import { ApprovalError } from "./approval-error";
import { AskAgain } from "./ask-again";
import { Callout } from "./callout";
import { Confirm } from "@/components/greenlight/confirm";
import type { PlanPageProps } from "./plan-page";
import { Quote } from "@/components/greenlight/quote";
import { Time } from "@/components/greenlight/time";

type Decision = "approve" | "request_changes" | "reject";

interface Failed {
  planId: string | undefined;
  code: ErrorCode;
  decision: Decision;
  comment: string | undefined;
}

interface Props {
  sessionId: string;
  /** Undefined while something else is shown. */
  planId: string | undefined;
  session: Session;
  /** This browser has edits of the session that were not sent. */
  hasDraft: boolean;
  tab: string;
  onTab: (tab: string) => void;
  onEdit: (draft: Draft) => void;
  onShow: (view: string) => void;
  onReload: () => Promise<unknown>;
}

/** A stored version: the user decides on it while it is proposed, and can read it afterwards. */
export function useStoredReview({
  sessionId,
  planId,
  session,
  hasDraft,
  tab,
  onTab,
  onEdit,
  onShow,
  onReload,
}: Props): PlanPageProps | undefined {
  const router = useRouter();
  const found = findPlan(session, planId);
  const [last, setLast] = useState(found);
  if (found && found !== last) setLast(found);
  // A plan that no longer exists (its agent was deleted, or it was purged) stays on the screen with a message.
  const plan = found ?? (last?.id === planId ? last : undefined);
  const { data, error: loadError } = useDocument(plan);
  const isOpen = found?.status === "proposed";
  const base = usePreviousDecision(isOpen ? found : undefined);
  const expiredByClock = useExpired(plan?.expires_at ?? null);
  const [running, setRunning] = useState<Decision | null>(null);
  const isRunning = useRef(false);
  const [failed, setFailed] = useState<Failed | null>(null);
  const problem = failed?.planId === planId ? failed : null;

  if (!plan) return;
  const { version } = plan;
  const isExpired = expiredByClock || problem?.code === "plan_expired";
  const isReadable = data?.verified === true && data.content !== null;
  const newest = session.plans[0]?.version ?? version;

  async function decide(decision: Decision, comment?: string) {
    // A ref and not the state: a double click comes before the next render.
    if (isRunning.current) return;
    isRunning.current = true;
    setRunning(decision);
    setFailed(null);
    try {
      const client = await loadClient();
      if (decision === "approve") {
        if (!data) throw new Error("Nothing is on the screen");
        // One call, with the hash of the bytes on the screen.
        const { agent_id } = await approvePlan(client, {
          sessionId,
          version,
          content: data.bytes,
          sha256: data.sha256,
        });
        toast.success("Plan approved and agent created successfully");
        router.push(`/build/${agent_id}`);
        router.refresh();
        // The buttons stay disabled until the agent's page is there.
        return;
      }
      if (decision === "request_changes")
        await requestChanges(client, { sessionId, version, comment: comment ?? "" });
      else await rejectPlan(client, { sessionId, version, comment });
      toast.success(decision === "reject" ? "Plan rejected" : "Sent back to the planner");
      await onReload();
      // Updates the number in the navigation.
      router.refresh();
    } catch (error) {
      const code = errorCode(error);
      toast.error(errorMessage(code));
      await onReload();
      setFailed({ planId, code, decision, comment });
    }
    isRunning.current = false;
    setRunning(null);
  }

  async function handleRestore() {
    if (!(await restoreAgentOf(sessionId))) return;
    setFailed(null);
    await onReload();
  }

  const reject = (
    <Confirm
      title={`Reject version ${version}?`}
      question="The planner sees your comment. A rejection is final for this version."
      confirm="Reject"
      comment="optional"
      danger
      disabled={running !== null}
      onConfirm={(comment) => void decide("reject", comment)}
    >
      <X aria-hidden /> Reject
    </Confirm>
  );

  return {
    title: plan.title,
    version,
    content: data?.content ?? undefined,
    hash: data?.sha256,
    facts: <PlanFacts plan={plan} />,
    actions: (isShown) =>
      isOpen ? (
        <>
          {reject}
          {(isReadable || data?.verified) && (
            <Confirm
              title={`Ask for changes to version ${version}?`}
              question="The planner sees your comment and proposes a new version. This version is not approved."
              confirm="Request changes"
              comment="required"
              disabled={running !== null}
              onConfirm={(comment) => void decide("request_changes", comment)}
            >
              <MessageSquareReply aria-hidden /> Request changes
            </Confirm>
          )}
          {isReadable && !isExpired && (
            <button
              type="button"
              className="button primary"
              disabled={running !== null || !isShown}
              onClick={() => void decide("approve")}
            >
              {running === "approve" && <LoaderCircle className="spinner" aria-hidden />}
              {running === "approve" ? "Creating the agent…" : "Approve plan"}
            </button>
          )}
        </>
      ) : (
        session.agent &&
        found?.id === session.agent.plan_id && (
          <Link className="button primary" href={`/build/${session.agent.id}`}>
            Open the agent
          </Link>
        )
      ),
    base,
    tab,
    onTab,
    onEdit:
      running === null && isReadable
        ? (change) => {
            onEdit(editDraft(openDraft(plan.title, data.content ?? "", version), change, newest));
          }
        : undefined,
    notices: (
      <>
        {hasDraft && (
          <Callout tone="info" text="You have edits of this plan that you have not approved.">
            <button
              type="button"
              className="button"
              onClick={() => {
                onShow("draft");
              }}
            >
              Go to my edits
            </button>
          </Callout>
        )}
        {data && !data.verified && (
          <Callout
            tone="danger"
            text={
              isOpen
                ? "The stored document is not the one that was proposed, so it cannot be approved. Reject it."
                : "The stored document is not the one that you decided on."
            }
          />
        )}
        {data?.verified && data.content === null && (
          <Callout tone="danger" text="The document is not UTF-8 text, so it cannot be shown or approved." />
        )}
        {loadError && (
          <Callout
            tone="danger"
            text={
              loadError === "document_not_found"
                ? "The document is not in storage any more, so it cannot be approved."
                : errorMessage(loadError)
            }
          >
            <button
              type="button"
              className="button"
              onClick={() => {
                location.reload();
              }}
            >
              Try again
            </button>
          </Callout>
        )}
        {isOpen && isExpired && (
          <Callout
            tone="warning"
            text={
              <>
                This proposal expired
                {plan.expires_at && (
                  <>
                    {" "}
                    <Time at={plan.expires_at} />
                  </>
                )}
                , so it cannot be approved any more. Ask the planner for a new version, or edit it and approve
                your own.
              </>
            }
          >
            <AskAgain plan={plan} onAsked={onReload} />
          </Callout>
        )}
        {!isOpen && (found ? !wasCurrent(found, session) : true) && (
          <Outcome plan={plan} isGone={!found} session={session} onShow={onShow} />
        )}
        {problem && (isOpen || problem.code === "agent_deleted") && problem.code !== "plan_expired" && (
          <ApprovalError
            code={problem.code}
            sessionId={sessionId}
            agentId={session.agent?.id}
            onRetry={() => void decide(problem.decision, problem.comment)}
            onRestore={() => void handleRestore()}
          />
        )}
        {isOpen && base?.comment && (
          <Quote
            label={
              base.status === "changes_requested" ? "You asked for:" : `You rejected version ${base.version}:`
            }
          >
            {base.comment}
          </Quote>
        )}
      </>
    ),
  };
}

/** Whether the agent is built from this plan: then the page shows no outcome. */
function wasCurrent(plan: Plan, { agent }: Session): boolean {
  return plan.id === agent?.plan_id;
}

function PlanFacts({ plan }: { plan: Plan }) {
  if (plan.status === "approved")
    return (
      <span className="fact good">
        <Check aria-hidden /> Approved
      </span>
    );
  if (plan.status !== "proposed")
    return <span className="fact">{plan.status === "changes_requested" ? "Sent back" : plan.status}</span>;
  return (
    <span className="fact">
      Proposed by {proposer(plan.proposed_by ?? "user")}, <Time at={plan.created_at} />
      {plan.expires_at && (
        <>
          , expires <Time at={plan.expires_at} />
        </>
      )}
    </span>
  );
}

interface OutcomeProps {
  plan: Plan;
  isGone: boolean;
  session: Session;
  onShow: (planId: string) => void;
}

/** What happened to a version that is no longer proposed, and where the user can go next. */
function Outcome({ plan, isGone, session, onShow }: OutcomeProps) {
  const next = session.proposal;
  return (
    <Callout
      tone="info"
      text={
        <>
          <p>{outcome(plan, isGone)}</p>
          {!isGone && plan.comment && <Quote label="Your comment:">{plan.comment}</Quote>}
        </>
      }
    >
      {next && next.id !== plan.id ? (
        <button
          type="button"
          className="button primary"
          onClick={() => {
            onShow(next.id);
          }}
        >
          Show version {next.version}
        </button>
      ) : session.agent ? (
        <Link className="button" href={`/build/${session.agent.id}`}>
          Open the agent
        </Link>
      ) : (
        <Link className="button" href="/plans">
          Go to your plans
        </Link>
      )}
    </Callout>
  );
}

function outcome(plan: Plan, isGone: boolean): string {
  const version = `Version ${plan.version}`;
  if (isGone) return `${version} does not exist any more: it was deleted.`;
  if (plan.status === "changes_requested")
    return `You asked for changes to version ${plan.version}. A new version appears here when the planner proposes it.`;
  if (plan.status === "rejected") return `You rejected version ${plan.version}.`;
  if (plan.status === "withdrawn") return `${version} was withdrawn by the planner.`;
  if (plan.status === "superseded" && !wasApproved(plan))
    return `${version} was replaced by a newer version.`;
  if (wasApproved(plan)) return `${version} was approved.`;
  return `${version} is ${plan.status}.`;
}
