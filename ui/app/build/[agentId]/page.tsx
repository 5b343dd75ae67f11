import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { cache } from "react";
import { z } from "zod";
import { AgentView } from "@/components/agent-view";
import { DeletedAgent } from "@/components/deleted-agent";
import { listDeleted, loadAgent } from "@/lib/agents";
import { requireUser } from "@/lib/supabase/server";

interface Props {
  params: Promise<{ agentId: string }>;
}

// Somebody else's agent, an unknown one and an id that is none are all the same: row level security shows nothing.
const load = cache(async (id: string) => {
  if (!z.uuid().safeParse(id).success) notFound();
  const { supabase } = await requireUser(`/build/${id}`);
  const agent = await loadAgent(supabase, id);
  const deleted = agent ? undefined : (await listDeleted(supabase)).find((candidate) => candidate.id === id);
  if (!agent && !deleted) notFound();
  return { agent, deleted };
});

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  const { agent, deleted } = await load((await params).agentId);
  return { title: agent?.name ?? deleted?.name ?? "Agent" };
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
