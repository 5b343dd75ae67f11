"use client";

import { useRouter } from "next/navigation";
import { useCallback } from "react";
import { approvePlan } from "@/actions/approve-plan";
import { PlanReview } from "@/components/greenlight/plan-review";
import type { Session } from "@/components/greenlight/plan-review/session";
import type { ApproveOwn } from "@/components/greenlight/plan-review/use-own-version";
import { reviewOf } from "@/lib/paths";
import { OpenPlan } from "./open-plan";
import { useUser } from "./user";
import { toast } from "./toasts";

const approveOwn: ApproveOwn = async ({ sessionId, sha256, ...plan }, onStep) => {
  const result = await approvePlan({ ...plan, plan_id: sessionId, content_sha256: sha256 }, onStep);
  if (!result.success) throw Object.assign(new Error(result.error), { code: result.code });
  return result.data;
};

interface Props {
  sessionId: string;
  /** Whose session it is, if it is another user's. */
  owner: string | undefined;
  session: Session;
}

/** The review of a planning session, in this app. */
export function Review({ sessionId, owner, session }: Props) {
  const router = useRouter();
  const user = useUser();
  const address = reviewOf(sessionId, owner);
  const setTitle = useCallback((title: string) => {
    document.title = `${title} · Greenlight`;
  }, []);
  return (
    <PlanReview
      sessionId={sessionId}
      owner={owner}
      initial={{ session, userId: user.id }}
      approveOwn={approveOwn}
      onApproved={({ agent_id, created }) => {
        toast.success(
          created ? "Plan approved. Its agent is being built." : "This version was approved before.",
        );
        router.push(`/build/${agent_id}`);
      }}
      // Updates the number in the navigation.
      onDecided={() => {
        router.refresh();
      }}
      onNewSession={(sessionId) => {
        router.push(reviewOf(sessionId));
      }}
      onTitle={setTitle}
      hrefs={{
        agent: (agentId) => `/build/${agentId}`,
        plans: "/plans",
        signIn: `/sign-in?next=${encodeURIComponent(address)}`,
        stepUp: `/step-up?next=${encodeURIComponent(address)}`,
      }}
      empty={<OpenPlan sessionId={sessionId} />}
    />
  );
}
