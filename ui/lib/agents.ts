import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "greenlight-client";

export const STATUSES = ["building", "active", "paused", "archived"] as const;
export type Status = (typeof STATUSES)[number];

export function isStatus(value: unknown): value is Status {
  return STATUSES.includes(value as Status);
}

type Client = SupabaseClient<Database>;

const PLAN = "id,version,title,status,document_path,document_sha256,created_at";
const EVENT = "id,kind,from_status,to_status,version,document_sha256,actor,actor_role,created_at";

/** An agent with the plan it is built from, all approved versions and its ledger, newest first. Null if there is none. */
export async function loadAgent(supabase: Client, id: string) {
  const { data: agent } = await supabase
    .from("agent")
    .select(`id,name,status,session_id,created_at,updated_at,plan(${PLAN}),agent_event(${EVENT})`)
    .eq("id", id)
    .order("id", { referencedTable: "agent_event", ascending: false })
    .limit(100, { referencedTable: "agent_event" })
    .maybeSingle()
    .throwOnError();
  if (!agent) return null;
  const { data: plans } = await supabase
    .from("plan")
    .select(PLAN)
    .eq("session_id", agent.session_id)
    .order("version", { ascending: false })
    .throwOnError();
  return { ...agent, plans };
}

export type Agent = NonNullable<Awaited<ReturnType<typeof loadAgent>>>;
export type Plan = Agent["plan"];
export type Event = Agent["agent_event"][number];

/** The agent of a planning session, with its newest approved plan. Null before the first approval, or if it is deleted. */
export async function loadSession(supabase: Client, sessionId: string) {
  const { data } = await supabase
    .from("agent")
    .select(`id,status,plan(${PLAN})`)
    .eq("session_id", sessionId)
    .maybeSingle()
    .throwOnError();
  return data;
}

export type SessionAgent = Awaited<ReturnType<typeof loadSession>>;

export const PAGE_SIZE = 20;

/** One page of the user's agents, newest first, and whether there are older ones. `page` counts from 1. */
export async function listAgents(supabase: Client, status: Status | null, page: number) {
  const from = (page - 1) * PAGE_SIZE;
  let query = supabase.from("agent").select("id,name,status,created_at,updated_at,plan(version)");
  if (status) query = query.eq("status", status);
  const { data } = await query
    .order("created_at", { ascending: false })
    .order("id", { ascending: false })
    // One more than is shown tells whether there is another page.
    .range(from, from + PAGE_SIZE)
    .throwOnError();
  return { agents: data.slice(0, PAGE_SIZE), more: data.length > PAGE_SIZE };
}

export async function listDeleted(supabase: Client) {
  const { data } = await supabase.rpc("deleted_agents").throwOnError();
  return data;
}

/** The bytes of an approved document. */
export async function loadDocument(supabase: Client, path: string): Promise<ArrayBuffer> {
  const { data, error } = await supabase.storage.from("plans").download(path);
  if (error) throw error;
  return data.arrayBuffer();
}
