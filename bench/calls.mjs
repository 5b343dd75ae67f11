// What the client, the pages and the docs ask the Data API for: each call once, against the Supabase in the environment.
// calls.py bundles this with their sources, starts it, and finds each call's statements in Postgres' log by the times that
// this prints.
import { createClient } from "@supabase/supabase-js";
import { pagesOf, countWaiting, loadPlans } from "@/components/greenlight/plan-inbox/load-plans";
import { loadSession } from "@/components/greenlight/plan-review/session";
import { loadAgent } from "@/lib/greenlight/load-agent";
import { loadAgents } from "@/lib/load-agents";
import {
  approvePlan,
  deletedAgents,
  getBuildLog,
  getPlan,
  getPreviousDecision,
  listAgents,
  listBuilds,
  listEvents,
  listProposals,
  planTeams,
  proposePlan,
} from "greenlight-client";

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, SUPABASE_SECRET_KEY, OWNER, MEMBER, APPROVER, TEAM_ID } = process.env;
const as = (token) =>
  createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, { accessToken: () => Promise.resolve(token) });
const owner = as(OWNER);
const approver = as(APPROVER);
const backend = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY);

const sessionId = "recorded-session";
const propose = (version) =>
  proposePlan(owner, { sessionId, version, title: "A plan", content: `# Version ${version}\n` });

// An agent that was built, and a newer version that waits.
await propose(1);
const { agent_id: agentId } = await approvePlan(owner, { sessionId, version: 1, content: "# Version 1\n" });
const { data: claimed } = await backend.rpc("claim_builds", { worker: "bench" });
const [{ build_id: buildId, attempt }] = claimed;
await backend.rpc("finish_build", { build_id: buildId, attempt, log: "Done." });
await propose(2);
const waiting = await getPlan(owner, { sessionId, version: 2 });
await proposePlan(as(MEMBER), { sessionId, version: 1, title: "A plan", content: "# Ours\n", teamId: TEAM_ID });

const newest = (table) =>
  owner.from(table).select().order("created_at", { ascending: false }).limit(20).throwOnError();

const calls = {
  "the page of plans": () => loadPlans(owner, pagesOf({})),
  "its number of waiting plans": () => countWaiting(owner),
  "the page of a session": () => loadSession(owner, sessionId),
  "the page of agents": () => loadAgents(owner, {}),
  "the page of agents, of one status": () => loadAgents(owner, { status: "active" }),
  "the page of agents, the fifth": () => loadAgents(owner, { page: 5 }),
  "the page of an agent": () => loadAgent(owner, agentId),
  "listProposals()": () => listProposals(owner),
  "listAgents()": () => listAgents(owner),
  "getPlan()": () => getPlan(owner, { sessionId, version: 1 }),
  "getPreviousDecision()": () => getPreviousDecision(owner, waiting),
  "listEvents()": () => listEvents(owner, agentId),
  "listBuilds()": () => listBuilds(owner, agentId),
  "getBuildLog()": () => getBuildLog(owner, buildId),
  "deletedAgents()": () => deletedAgents(owner),
  "planTeams()": () => planTeams(owner),
  "plans without a filter": () => newest("plan"),
  "agents without a filter": () => newest("agent"),
  "an owner's plans": () => listProposals(owner, { owner: "own", limit: 20 }),
  "an owner's decided plans": () =>
    listProposals(owner, { owner: "own", status: ["approved", "rejected"], limit: 20 }),
  "an owner's agents": () => listAgents(owner, { userId: waiting.user_id }),
  "an approver's page of plans": () => loadPlans(approver, pagesOf({})),
  "an approver's number of waiting plans": () => countWaiting(approver),
  "an approver's inbox": () => listProposals(approver, { owner: "others", mayDecide: true, expired: false, limit: 20 }),
};

console.log(JSON.stringify({ sessionId, agentId, buildId }));
for (const [name, call] of Object.entries(calls)) {
  await call(); // What is asked only once is not part of it.
  await new Promise((resolve) => setTimeout(resolve, 30));
  const began = Date.now();
  await call();
  console.log(JSON.stringify({ name, began, ended: Date.now() }));
}
