"use client";

import { PlanInbox } from "@/components/greenlight/plan-inbox";

export default function PlansPage() {
  return (
    <main className="mx-auto w-full max-w-3xl px-4 py-8">
      <PlanInbox reviewHref={(sessionId, owner) => `/plans/${sessionId}${owner ? `?user=${owner}` : ""}`} />
    </main>
  );
}
