import { call } from "./data-api";
import { callerId } from "./documents";
import type { Agent, DisplayName, Plan, PlanTeam, Supabase } from "./types";

/** The caller's teams, and whether they may decide there: on its plans, and on those that are their own. */
export function planTeams(supabase: Supabase): Promise<PlanTeam[]> {
  return call(supabase, "plan_teams");
}

/** What the people of these plans are called: their owners, who decided, who changed their agents. */
export function displayNames(supabase: Supabase, planIds: readonly string[]): Promise<DisplayName[]> {
  return call(supabase, "display_names", { plan_ids: [...planIds] });
}

/** Who asks. */
export interface Reader {
  /** Null for a client without a session of its own, such as the service role's. */
  id: string | null;
  teams: PlanTeam[];
}

/** Who is signed in, with their teams. */
export async function reader(supabase: Supabase): Promise<Reader> {
  const id = await callerId(supabase);
  return { id, teams: id === null ? [] : await planTeams(supabase) };
}

interface Filtered<Query> {
  eq(column: "user_id" | "team_id", value: string): Query;
  neq(column: "user_id", value: string): Query;
  in(column: "team_id", values: string[]): Query;
  not(column: "team_id", operator: "is" | "in", value: null | string): Query;
  or(filters: string): Query;
}

/**
 * Of each text, one of its conditions has to hold. In one parameter: the local stack's Data API takes two of the name `or`
 * for one.
 */
function either<Query extends Filtered<Query>>(query: Query, ...texts: (string | undefined)[]): Query {
  const given = texts.filter((text) => text !== undefined);
  if (given.length > 1) return query.or(`and(${given.map((text) => `or(${text})`).join()})`);
  return given[0] === undefined ? query : query.or(given[0]);
}

/** Names whose rows a list is of: without that, Postgres reads the whole table. */
export function named<Query extends Filtered<Query>>(
  query: Query,
  { id, teams }: Reader,
  { userId, teamId }: { userId?: string | undefined; teamId?: string | undefined },
  other?: string,
): Query {
  if (userId !== undefined || teamId !== undefined) {
    const owned = userId === undefined ? query : query.eq("user_id", userId);
    return either(teamId === undefined ? owned : owned.eq("team_id", teamId), other);
  }
  if (id === null) return either(query, other);
  if (!teams.length) return either(query.eq("user_id", id), other);
  return either(query, `user_id.eq.${id},team_id.in.(${teams.map((team) => team.team_id).join()})`, other);
}

/** The plans of the reader on which they, or others, decide; or those of others, which they read, or decide on. */
export function whose<Query extends Filtered<Query>>(
  query: Query,
  { id, teams }: Reader & { id: string },
  owner: "own" | "others",
  decides: boolean | undefined,
  other?: string,
): Query {
  const ids = (some: PlanTeam[]) => some.map(({ team_id }) => team_id);
  if (owner === "others") {
    const read = teams.filter(({ may_decide }) => decides === undefined || may_decide === decides);
    return either(query.in("team_id", ids(read)).neq("user_id", id), other);
  }
  const list = `(${ids(teams.filter(({ may_decide_own }) => may_decide_own)).join()})`;
  const own = query.eq("user_id", id);
  if (decides === undefined) return either(own, other);
  if (decides) return either(own, `team_id.is.null${list === "()" ? "" : `,team_id.in.${list}`}`, other);
  const theirs = own.not("team_id", "is", null);
  return either(list === "()" ? theirs : theirs.not("team_id", "in", list), other);
}

/** Whether the reader manages an agent: as its owner, or as an approver of its team. */
export function mayManage({ id, teams }: Reader, agent: Pick<Agent, "user_id" | "team_id">): boolean {
  return agent.user_id === id || teams.some((team) => team.team_id === agent.team_id && team.may_decide);
}

/** Whether the reader may decide on a plan: as the database decides, but for what the project may require. */
export function mayDecide({ id, teams }: Reader, plan: Pick<Plan, "user_id" | "team_id">): boolean {
  const own = plan.user_id === id;
  if (plan.team_id === null) return own;
  const team = teams.find(({ team_id }) => team_id === plan.team_id);
  return (own ? team?.may_decide_own : team?.may_decide) ?? false;
}
