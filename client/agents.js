/** @import { Agent, AgentDetails, AgentStatus, AgentSummary, Supabase } from "./types.js" */
/** @import * as greenlight from "./types.js" */

import { call, checked, typed } from "./data-api.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NEWEST_FIRST = { ascending: false };

/** @type {typeof greenlight.getAgent} */
export async function getAgent(supabase, agentId) {
  if (!UUID.test(agentId)) return null;
  const db = typed(supabase);
  const found = await db
    .from("agent")
    // Each embed names its foreign key: a table of the adopter that refers to two of ours would make it ambiguous.
    .select("*,plan!agent_plan_fkey(*),build!build_agent_fkey(*),agent_event!agent_event_agent_fkey(*)")
    .eq("id", agentId)
    .order("created_at", { referencedTable: "build", ...NEWEST_FIRST })
    .limit(1, { referencedTable: "build" })
    .order("id", { referencedTable: "agent_event", ...NEWEST_FIRST })
    .limit(100, { referencedTable: "agent_event" })
    .maybeSingle();
  const row = checked(found).data;
  if (!row) return null;
  const { agent_event: events, build: builds, ...agent } = row;
  const ofSession = () =>
    db
      .from("plan")
      .select()
      // The user, too: the service role reads those of others with a session of the same name.
      .match({ user_id: agent.user_id, session_id: agent.session_id })
      .order("version", NEWEST_FIRST);
  // Asked for, since a list is cut at the Data API's maximum: a planner may have withdrawn any number of newer ones.
  const wasApproved = ofSession()
    .in("status", ["approved", "superseded", "archived"])
    .not("decided_at", "is", null);
  const [plans, approved] = await Promise.all([ofSession(), wasApproved]);
  const details = {
    ...agent,
    build: builds[0] ?? null,
    plans: checked(plans).data,
    approved: checked(approved).data,
    events,
  };
  return /** @type {AgentDetails} */ (details);
}

/** @type {typeof greenlight.listEvents} */
export async function listEvents(supabase, agentId, { before, limit = 100 } = {}) {
  let query = typed(supabase).from("agent_event").select().eq("agent_id", agentId);
  if (before !== undefined) query = query.lt("id", before);
  return checked(await query.order("id", NEWEST_FIRST).limit(limit)).data;
}

/** @type {typeof greenlight.listAgents} */
export async function listAgents(supabase, { status, page = 1, pageSize = 20 } = {}) {
  const from = (page - 1) * pageSize;
  let query = typed(supabase).from("agent").select("*,plan!agent_plan_fkey(*),build!build_agent_fkey(*)");
  if (status) query = query.eq("status", status);
  const found = await query
    .order("created_at", NEWEST_FIRST)
    .order("id", NEWEST_FIRST)
    .order("created_at", { referencedTable: "build", ...NEWEST_FIRST })
    .limit(1, { referencedTable: "build" })
    // One row more than is returned shows whether there is another page.
    .range(from, from + pageSize);
  const rows = checked(found).data.map(({ build: builds, ...agent }) => ({
    ...agent,
    build: builds[0] ?? null,
  }));
  const agents = /** @type {AgentSummary[]} */ (rows.slice(0, pageSize));
  return { agents, more: rows.length > pageSize };
}

/**
 * @param {Supabase} supabase
 * @param {string} agentId
 * @param {AgentStatus} status
 * @returns {Promise<Agent>}
 */
function transition(supabase, agentId, status) {
  return call(supabase, "transition_agent", { agent_id: agentId, to_status: status });
}

/** @type {typeof greenlight.pauseAgent} */
export const pauseAgent = (supabase, agentId) => transition(supabase, agentId, "paused");

/** @type {typeof greenlight.resumeAgent} */
export const resumeAgent = (supabase, agentId) => transition(supabase, agentId, "active");

/** @type {typeof greenlight.archiveAgent} */
export const archiveAgent = (supabase, agentId) => transition(supabase, agentId, "archived");

/** @type {typeof greenlight.retryBuild} */
export const retryBuild = (supabase, agentId) => call(supabase, "retry_build", { agent_id: agentId });

/** @type {typeof greenlight.deleteAgent} */
export const deleteAgent = (supabase, agentId) => call(supabase, "delete_agent", { agent_id: agentId });

/** @type {typeof greenlight.restoreAgent} */
export const restoreAgent = (supabase, agentId) => call(supabase, "restore_agent", { agent_id: agentId });

/** @type {typeof greenlight.deletedAgents} */
export const deletedAgents = (supabase) => call(supabase, "deleted_agents");
