import { call } from "./data-api";
import { authError } from "./errors";
import type { DisplayName, Plan, PlanTeam, Supabase } from "./types";

/** The caller's teams, and whether they may decide there: on its plans, and on those that are their own. */
export function planTeams(supabase: Supabase): Promise<PlanTeam[]> {
  return call(supabase, "plan_teams");
}

/** What the people of these plans are called: their owners, who decided, who changed their agents. */
export function displayNames(supabase: Supabase, planIds: readonly string[]): Promise<DisplayName[]> {
  return call(supabase, "display_names", { plan_ids: [...planIds] });
}

export interface Reader {
  /** Null for a client without a session of its own, such as the service role's. */
  id: string | null;
  teams: PlanTeam[];
}

/** Who asks. */
export async function reader(supabase: Supabase): Promise<Reader> {
  const { data, error } = await supabase.auth.getClaims();
  if (error) throw authError(error);
  return data ? { id: data.claims.sub, teams: await planTeams(supabase) } : { id: null, teams: [] };
}

interface Filtered<Query> {
  eq(column: "user_id" | "team_id", value: string): Query;
  or(filters: string): Query;
}

/** Names whose rows a list is of: without that, Postgres reads the whole table. */
export function named<Query extends Filtered<Query>>(
  query: Query,
  { id, teams }: Reader,
  { userId, teamId }: { userId?: string | undefined; teamId?: string | undefined },
): Query {
  if (userId !== undefined || teamId !== undefined) {
    const owned = userId === undefined ? query : query.eq("user_id", userId);
    return teamId === undefined ? owned : owned.eq("team_id", teamId);
  }
  if (id === null) return query;
  if (!teams.length) return query.eq("user_id", id);
  return query.or(`user_id.eq.${id},team_id.in.(${teams.map((team) => team.team_id).join()})`);
}

/** Whether the reader may decide on a plan: as the database decides, but for what the project may require. */
export function mayDecide({ id, teams }: Reader, plan: Pick<Plan, "user_id" | "team_id">): boolean {
  const own = plan.user_id === id;
  if (plan.team_id === null) return own;
  const team = teams.find(({ team_id }) => team_id === plan.team_id);
  return (own ? team?.may_decide_own : team?.may_decide) ?? false;
}
