import { getAgent, reader, type AgentDetails, type Supabase } from "@/lib/greenlight/client";
import { loadPeople, type People } from "@/lib/greenlight/people";

/** An agent, who looks at it, and what its people are called. */
export type ShownAgent = AgentDetails & { people: People };

/** Null if it does not exist, is deleted, or the user may not read it. */
export async function loadAgent(supabase: Supabase, agentId: string): Promise<ShownAgent | null> {
  const [agent, asking] = await Promise.all([getAgent(supabase, agentId), reader(supabase)]);
  return agent && { ...agent, people: await loadPeople(supabase, agent.plans, asking) };
}
