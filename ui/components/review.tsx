"use client";

import { useRouter } from "next/navigation";
import { useCallback } from "react";
import { approvePlan } from "@/actions/approve-plan";
import { PlanReview } from "@/components/greenlight/plan-review";
import type { Session } from "@/components/greenlight/plan-review/session";
import type { ApproveOwn } from "@/components/greenlight/plan-review/use-own-version";
import { OpenPlan } from "./open-plan";
import { useUser } from "./user";
import { toast } from "./toasts";

const approveOwn: ApproveOwn = async ({ sessionId, sha256, ...plan }, onStep) => {
  const result = await approvePlan({ ...plan, plan_id: sessionId, content_sha256: sha256 }, onStep);
  if (!result.success) throw Object.assign(new Error(result.error), { code: result.code });
  return result.data;
};

/** The review of a planning session, in this app. */
export function Review({ sessionId, session }: { sessionId: string; session: Session }) {
  const router = useRouter();
  const user = useUser();
  const setTitle = useCallback((title: string) => {
    document.title = `${title} · Greenlight`;
  }, []);
  return (
    <PlanReview
      sessionId={sessionId}
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
        router.push(`/build?session=${sessionId}`);
      }}
      onTitle={setTitle}
      hrefs={{
        agent: (agentId) => `/build/${agentId}`,
        plans: "/plans",
        signIn: `/sign-in?next=${encodeURIComponent(`/build?session=${sessionId}`)}`,
      }}
      empty={<OpenPlan sessionId={sessionId} />}
    />
  );
}
