import type { PostgrestError, SupabaseClient } from "@supabase/supabase-js";
import { databaseError } from "./errors";
import type { Changes } from "./changes";
import type { Agent, Approval, Database, DisplayName, Plan, PlanTeam, Proposal, Supabase } from "./types";

type Functions = Database["public"]["Functions"];

/** What the functions answer. It says more than the database's types: which columns can be null, which statuses exist. */
interface Answers {
  approve_plan: Approval;
  propose_plan: Proposal;
  request_changes: Plan;
  reject_plan: Plan;
  withdraw_plan: Plan;
  transition_agent: Agent;
  retry_build: Agent;
  stop_build: Agent;
  delete_agent: Agent;
  restore_agent: Agent;
  deleted_agents: Agent[];
  plan_teams: PlanTeam[];
  display_names: DisplayName[];
  latest_changes: Changes;
}

/** The tables and functions as they are in this package's version, whatever types the caller's client has. */
export function typed(supabase: Supabase): SupabaseClient<Database> {
  return supabase as SupabaseClient<Database>;
}

/** A response without an error in it. */
export function checked<Response extends { error: Partial<PostgrestError> | null; status: number }>(
  response: Response,
): Extract<Response, { error: null }> {
  if (response.error) throw databaseError(response.error, response.status);
  // postgrest-js treats an empty 404 as a success without data.
  if (response.status !== 200 && response.status !== 206) throw databaseError({}, response.status);
  return response as Extract<Response, { error: null }>;
}

export async function call<Name extends keyof Answers>(
  supabase: Supabase,
  name: Name,
  args?: Functions[Name]["Args"],
): Promise<Answers[Name]> {
  return checked(await supabase.rpc(name, args)).data as Answers[Name];
}
