"use client";

import { useParams } from "next/navigation";
import { Suspense } from "react";
import { AgentStatus } from "@/components/greenlight/agent-status";

export default function AgentPage() {
  return (
    <Suspense>
      <Status />
    </Suspense>
  );
}

function Status() {
  const { agentId } = useParams<{ agentId: string }>();
  return (
    <main className="mx-auto w-full max-w-3xl px-4 py-8">
      <AgentStatus agentId={agentId} />
    </main>
  );
}
