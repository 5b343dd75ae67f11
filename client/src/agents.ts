import { call, checked, typed } from "./data-api";
import { named, reader } from "./teams";
import type {
  Agent,
  AgentDetails,
  AgentEvent,
  AgentStatus,
  AgentSummary,
  Build,
  BuildDetails,
  BuildLog,
  Supabase,
} from "./types";

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NEWEST_FIRST = { ascending: false };
// Which attempts shared a log, and when it changed: who shows it loads it only then.
const WITH_LOGS = "*,logs:build_log!build_log_build_fkey(attempt,updated_at)";

/** An agent by its id. Null if it does not exist, is deleted, or belongs to another user. */
export async function getAgent(supabase: Supabase, agentId: string): Promise<AgentDetails | null> {
  if (!UUID.test(agentId)) return null;
  const db = typed(supabase);
  const response = await db
    .from("agent")
    // Each embed names its foreign key: a table of the adopter that refers to two of ours would make it ambiguous.
    .select(
      `*,plan!agent_plan_fkey(*),build!build_agent_fkey(${WITH_LOGS}),agent_event!agent_event_agent_fkey(*)`,
    )
    .eq("id", agentId)
    .order("created_at", { referencedTable: "build", ...NEWEST_FIRST })
    .limit(1, { referencedTable: "build" })
    .order("id", { referencedTable: "agent_event", ...NEWEST_FIRST })
    .limit(100, { referencedTable: "agent_event" })
    .maybeSingle();
  const row = checked(response).data;
  if (!row) return null;
  const { agent_event: events, build: builds, ...agent } = row;
  const ofSession = () =>
    db
      .from("plan")
      .select()
      // The user, too: the service role reads those of others with a session of the same name.
      .match({ user_id: agent.user_id, session_id: agent.session_id })
      .order("version", NEWEST_FIRST);
  // A query of its own, since a list is cut at the Data API's maximum: a planner may have withdrawn many newer ones.
  const everApproved = ofSession()
    .in("status", ["approved", "superseded", "archived"])
    .not("decided_at", "is", null);
  const [plans, approved] = await Promise.all([ofSession(), everApproved]);
  const details = {
    ...agent,
    build: builds[0] ?? null,
    plans: checked(plans).data,
    approved: checked(approved).data,
    events,
  };
  return details as AgentDetails;
}

/** Events of an agent, newest first: those before an event that is known already, or the newest ones. */
export async function listEvents(
  supabase: Supabase,
  agentId: string,
  { before, limit = 100 }: { before?: AgentEvent["id"] | undefined; limit?: number | undefined } = {},
): Promise<AgentEvent[]> {
  let query = typed(supabase).from("agent_event").select().eq("agent_id", agentId);
  if (before !== undefined) query = query.lt("id", before);
  return checked(await query.order("id", NEWEST_FIRST).limit(limit)).data;
}

/** The newest builds of an agent, the last one first. */
export async function listBuilds(
  supabase: Supabase,
  agentId: string,
  { limit = 50 }: { limit?: number | undefined } = {},
): Promise<BuildDetails[]> {
  const query = typed(supabase).from("build").select(WITH_LOGS).eq("agent_id", agentId);
  return checked(await query.order("created_at", NEWEST_FIRST).limit(limit)).data as BuildDetails[];
}

/**
 * The end of what an attempt at a build wrote: of the newest one that shared anything, unless `attempt` names one. Null
 * if it shared nothing, or the build belongs to another user.
 */
export async function getBuildLog(
  supabase: Supabase,
  buildId: string,
  attempt?: number,
): Promise<BuildLog | null> {
  if (!UUID.test(buildId)) return null;
  let query = typed(supabase).from("build_log").select().eq("build_id", buildId);
  if (attempt !== undefined) query = query.eq("attempt", attempt);
  return checked(await query.order("attempt", NEWEST_FIRST).limit(1).maybeSingle()).data;
}

/** What a page shows of a build's result: `url` if it is an address of http or https, `summary` if it is text. */
export function shownResult({ result }: Pick<Build, "result">): {
  url: string | null;
  summary: string | null;
} {
  const { url, summary } = result ?? {};
  return {
    url: typeof url === "string" && /^https?:\/\/\S+$/i.test(url) ? url : null,
    summary: typeof summary === "string" && summary.trim() ? summary : null,
  };
}

/** One page of the agents of the user and their teams, newest first, and whether there are older ones. Pages count from 1. */
export async function listAgents(
  supabase: Supabase,
  {
    status,
    page = 1,
    pageSize = 20,
    userId,
    teamId,
  }: {
    status?: AgentStatus | null | undefined;
    page?: number | undefined;
    pageSize?: number | undefined;
    /** Only agents of this owner. */
    userId?: string | undefined;
    /** Only agents of this team. */
    teamId?: string | undefined;
  } = {},
): Promise<{ agents: AgentSummary[]; more: boolean }> {
  const from = (page - 1) * pageSize;
  const all = typed(supabase).from("agent").select("*,plan!agent_plan_fkey(*),build!build_agent_fkey(*)");
  let query = named(all, await reader(supabase), { userId, teamId });
  if (status) query = query.eq("status", status);
  const response = await query
    .order("created_at", NEWEST_FIRST)
    .order("id", NEWEST_FIRST)
    .order("created_at", { referencedTable: "build", ...NEWEST_FIRST })
    .limit(1, { referencedTable: "build" })
    // One row more than is returned shows whether there is another page.
    .range(from, from + pageSize);
  const rows = checked(response).data.map(({ build: builds, ...agent }) => ({
    ...agent,
    build: builds[0] ?? null,
  }));
  return { agents: rows.slice(0, pageSize) as AgentSummary[], more: rows.length > pageSize };
}

function transition(supabase: Supabase, agentId: string, status: AgentStatus): Promise<Agent> {
  return call(supabase, "transition_agent", { agent_id: agentId, to_status: status });
}

export function pauseAgent(supabase: Supabase, agentId: string): Promise<Agent> {
  return transition(supabase, agentId, "paused");
}

export function resumeAgent(supabase: Supabase, agentId: string): Promise<Agent> {
  return transition(supabase, agentId, "active");
}

/** Archives an agent. That is final. */
export function archiveAgent(supabase: Supabase, agentId: string): Promise<Agent> {
  return transition(supabase, agentId, "archived");
}

/** Stops the build of an agent that is building: its attempt has no effect any more, and the agent is failed. */
export function stopBuild(supabase: Supabase, agentId: string): Promise<Agent> {
  return call(supabase, "stop_build", { agent_id: agentId });
}

/** Builds a failed agent again. */
export function retryBuild(supabase: Supabase, agentId: string): Promise<Agent> {
  return call(supabase, "retry_build", { agent_id: agentId });
}

/** Deletes an agent and the plans of its session, until `restoreAgent` brings them back. */
export function deleteAgent(supabase: Supabase, agentId: string): Promise<Agent> {
  return call(supabase, "delete_agent", { agent_id: agentId });
}

export function restoreAgent(supabase: Supabase, agentId: string): Promise<Agent> {
  return call(supabase, "restore_agent", { agent_id: agentId });
}

/** The user's deleted agents, newest first. */
export function deletedAgents(supabase: Supabase): Promise<Agent[]> {
  return call(supabase, "deleted_agents");
}
