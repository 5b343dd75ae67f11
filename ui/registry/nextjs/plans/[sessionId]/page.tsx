"use client";

import { useParams, useRouter, useSearchParams } from "next/navigation";
import { Suspense } from "react";
import { PlanReview } from "@/components/greenlight/plan-review";

const HREFS = { plans: "/plans", agent: (agentId: string) => `/agents/${agentId}` };

export default function PlanPage() {
  return (
    <main className="mx-auto w-full max-w-5xl px-4 py-8">
      <Suspense>
        <Review />
      </Suspense>
    </main>
  );
}

function Review() {
  const { sessionId } = useParams<{ sessionId: string }>();
  const owner = useSearchParams().get("user") ?? undefined;
  const router = useRouter();
  return (
    <PlanReview
      key={sessionId}
      sessionId={sessionId}
      owner={owner}
      hrefs={HREFS}
      onApproved={({ agent_id }) => {
        router.push(HREFS.agent(agent_id));
      }}
      onNewSession={(id) => {
        router.push(`/plans/${id}`);
      }}
    />
  );
}
