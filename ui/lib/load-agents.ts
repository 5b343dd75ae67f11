import { listAgents, reader, type Supabase } from "greenlight-client";
import { loadPeople } from "@/lib/greenlight/people";

/** A page of the agents that the user reads, and what their owners are called. */
export async function loadAgents(supabase: Supabase, options: Parameters<typeof listAgents>[1]) {
  const [{ agents, more }, asking] = await Promise.all([listAgents(supabase, options), reader(supabase)]);
  return {
    agents,
    more,
    people: await loadPeople(
      supabase,
      agents.map(({ plan }) => plan),
      asking,
    ),
  };
}

export type Agents = Awaited<ReturnType<typeof loadAgents>>;
