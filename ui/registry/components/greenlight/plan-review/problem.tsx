"use client";

import { use } from "react";
import { Callout } from "@/components/greenlight/callout";
import { AppLink } from "@/components/greenlight/link";
import { Button } from "@/components/ui/button";
import { isRetryable, type ErrorCode } from "@/lib/greenlight/errors";
import { HrefsContext } from "./hrefs";
import { PlanReviewContext } from "./texts";

interface Props {
  code: ErrorCode;
  agentId?: string | undefined;
  /** One above the newest known version. */
  nextVersion?: number;
  onRetry: () => void;
  onApproveAs?: (version: number) => void;
  onRestore: () => void;
  onNewPlan?: (() => void) | undefined;
  onEdit?: () => void;
}

/** Why an approval or another decision failed, and what the user can do next. */
export function Problem({
  code,
  agentId,
  nextVersion,
  onRetry,
  onApproveAs,
  onRestore,
  onNewPlan,
  onEdit,
}: Props) {
  const texts = use(PlanReviewContext);
  const hrefs = use(HrefsContext);
  const isTaken = code === "plan_stale" || code === "plan_conflict" || code === "plan_decided";
  const isMalformed = code === "invalid_title" || code === "document_too_large" || code === "invalid_request";
  return (
    <Callout tone="warning" text={<p>{texts.errors[code]}</p>}>
      {isTaken && onApproveAs && nextVersion !== undefined && (
        <Button
          onClick={() => {
            onApproveAs(nextVersion);
          }}
        >
          {texts.approveAs(nextVersion)}
        </Button>
      )}
      {isTaken && agentId && hrefs.agent && (
        <Button variant="outline" asChild>
          <AppLink href={hrefs.agent(agentId)}>{texts.seeApproved}</AppLink>
        </Button>
      )}
      {code === "agent_deleted" && <Button onClick={onRestore}>{texts.restore}</Button>}
      {code === "agent_archived" && onNewPlan && <Button onClick={onNewPlan}>{texts.newPlan}</Button>}
      {(code === "not_authenticated" || code === "human_required") && hrefs.signIn && (
        <Button asChild>
          <AppLink href={hrefs.signIn}>{texts.signIn}</AppLink>
        </Button>
      )}
      {code === "step_up_required" && hrefs.stepUp && (
        <Button asChild>
          <AppLink href={hrefs.stepUp}>{texts.stepUp}</AppLink>
        </Button>
      )}
      {isMalformed && onEdit && (
        <Button variant="outline" onClick={onEdit}>
          {texts.editPlan}
        </Button>
      )}
      {isRetryable(code) && (
        <Button variant="outline" onClick={onRetry}>
          {texts.tryAgain}
        </Button>
      )}
    </Callout>
  );
}
