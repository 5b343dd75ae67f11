"use client";

import { Check, LoaderCircle } from "lucide-react";
import { use } from "react";
import { Callout } from "@/components/greenlight/callout";
import { AppLink } from "@/components/greenlight/link";
import { Button } from "@/components/ui/button";
import { HrefsContext } from "./hrefs";
import { Fact } from "./plan-page";
import { Problem } from "./problem";
import type { Session } from "./session";
import { PlanReviewContext } from "./texts";
import type { OwnVersionState } from "./use-own-version";

interface Props {
  own: OwnVersionState;
  session: Session;
}

export function OwnFacts({ own, session: { approved } }: Props) {
  const texts = use(PlanReviewContext);
  if (own.isApproved)
    return (
      <Fact isGood>
        <Check aria-hidden /> {texts.approved}
      </Fact>
    );
  return <Fact>{approved ? texts.isApproved(approved.version) : texts.notApproved}</Fact>;
}

export function OwnActions({ own, session, isShown }: Props & { isShown: boolean }) {
  const texts = use(PlanReviewContext);
  const hrefs = use(HrefsContext);
  const { step } = own;
  return (
    <>
      {own.isApproved && session.agent && !step ? (
        hrefs.agent && (
          <Button asChild>
            <AppLink href={hrefs.agent(session.agent.id)}>{texts.openAgent}</AppLink>
          </Button>
        )
      ) : (
        <Button
          disabled={step !== null || own.draft.content === "" || !isShown}
          onClick={() => void own.approve()}
        >
          {step && <LoaderCircle className="animate-spin" aria-hidden />}
          {step ? texts.steps[step] : texts.approve}
        </Button>
      )}
      <p className="sr-only" role="status">
        {step && texts.steps[step]}
      </p>
    </>
  );
}

interface NoticesProps extends Props {
  onShow: (planId: string) => void;
  onDiscard: () => void;
  onNewPlan: (() => void) | undefined;
  onEdit: () => void;
}

export function OwnNotices({ own, session, onShow, onDiscard, onNewPlan, onEdit }: NoticesProps) {
  const texts = use(PlanReviewContext);
  const { proposal, agent } = session;
  const { draft, problem } = own;
  return (
    <>
      {proposal && !own.step && (
        <Callout
          tone="info"
          text={
            proposal.version < draft.version
              ? texts.ownText(proposal.version)
              : texts.proposedMeanwhile(proposal.version)
          }
        >
          <Button
            variant="outline"
            onClick={() => {
              onShow(proposal.id);
            }}
          >
            {texts.show(proposal.version)}
          </Button>
          <Button variant="ghost" onClick={onDiscard}>
            {texts.discardEdits}
          </Button>
        </Callout>
      )}
      {problem && (
        <Problem
          code={problem}
          agentId={agent?.id}
          nextVersion={Math.max(own.newest, draft.version) + 1}
          onRetry={() => void own.approve()}
          onApproveAs={(version) => void own.approve(version)}
          onRestore={() => void own.restore()}
          onNewPlan={onNewPlan}
          onEdit={onEdit}
        />
      )}
    </>
  );
}
