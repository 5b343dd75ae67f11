import { listAgents, type Supabase } from "greenlight-client";
import { loadPeople } from "@/lib/greenlight/people";

/** A page of the agents that the user reads, and what their owners are called. */
export async function loadAgents(supabase: Supabase, options: Parameters<typeof listAgents>[1]) {
  const { agents, more } = await listAgents(supabase, options);
  return {
    agents,
    more,
    people: await loadPeople(
      supabase,
      agents.map(({ plan }) => plan),
    ),
  };
}

export type Agents = Awaited<ReturnType<typeof loadAgents>>;
