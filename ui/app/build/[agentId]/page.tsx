import { deletedAgents } from "greenlight-client";
import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { cache } from "react";
import { AgentView } from "@/components/agent-view";
import { DeletedAgent } from "@/components/deleted-agent";
import { loadAgent } from "@/lib/greenlight/load-agent";
import { requireUser } from "@/lib/supabase/server";
import { visibleText } from "@/lib/greenlight/visible";

interface Props {
  params: Promise<{ agentId: string }>;
}

// Not found, not yours and malformed ids all return 404.
const load = cache(async (id: string) => {
  const { supabase } = await requireUser(`/build/${id}`);
  const agent = await loadAgent(supabase, id);
  const deleted = agent
    ? undefined
    : (await deletedAgents(supabase)).find((candidate) => candidate.id === id);
  if (!agent && !deleted) notFound();
  return { agent, deleted };
});

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  const { agent, deleted } = await load((await params).agentId);
  return { title: visibleText(agent?.name ?? deleted?.name ?? "Agent") };
}

export default async function AgentPage({ params }: Props) {
  const { agent, deleted } = await load((await params).agentId);
  if (agent) return <AgentView initial={agent} />;
  return (
    deleted && (
      <DeletedAgent id={deleted.id} name={deleted.name ?? "Agent"} deletedAt={deleted.deleted_at ?? ""} />
    )
  );
}
