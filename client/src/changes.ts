import { call } from "./data-api";
import type { Owned } from "./plans";
import type { Agent, AgentDetails, Plan, Supabase } from "./types";

const WAITING = ["waiting", "teamWaiting", "others", "expired", "teamExpired"] as const;
const DECIDED = ["decided", "teamDecided"] as const;
type List = (typeof WAITING)[number] | (typeof DECIDED)[number];

/** What is shown, to ask whether it has changed. */
export interface Shown {
  agentIds?: readonly string[] | undefined;
  /** A planning session: the caller's own, or of the owner who is named. */
  session?: ({ sessionId: string } & Owned) | undefined;
  /** The proposals that wait for the caller or for others, and those that expired. */
  waiting?: boolean | undefined;
  /** The decisions. */
  decided?: boolean | undefined;
}

/** How many plans a list has, and when its newest one was proposed or decided. */
export type ListMark = readonly [count: number, newest: string | null];

/** The database's answer: the marks of what was asked about. What has the same marks as before has not changed. */
export interface Changes {
  agents?: Record<string, unknown>;
  sessions?: unknown[];
  lists?: Partial<Record<List, ListMark>>;
}

/** Asks about all of it with one small request. Of each, returns its marks; of nothing, nothing. */
export async function ask(
  supabase: Supabase,
  shown: readonly (Shown | null | undefined)[],
): Promise<{ changes: Changes; marks: (unknown[] | undefined)[] }> {
  const asked = shown.filter((one) => one != null);
  const agents = new Set(asked.flatMap(({ agentIds = [] }) => agentIds));
  const sessions = asked.flatMap(({ session }) => session ?? []);
  const args = {
    ...(agents.size > 0 && { agent_ids: [...agents] }),
    ...(sessions.length > 0 && {
      session_ids: sessions.map(({ sessionId }) => sessionId),
      user_ids: sessions.map(({ userId }) => userId ?? null) as string[],
    }),
    ...(asked.some(({ waiting }) => waiting) && { waiting: true }),
    ...(asked.some(({ decided }) => decided) && { decided: true }),
  };
  if (Object.keys(args).length === 0) return { changes: {}, marks: shown.map(() => undefined) };
  const changes = await call(supabase, "latest_changes", args);
  let session = 0;
  const marks = shown.map(
    (one) =>
      one && [
        ...(one.agentIds ?? []).map((id) => changes.agents?.[id.toLowerCase()] ?? null),
        ...(one.session ? [changes.sessions?.[session++]] : []),
        ...listMarks(one, changes.lists),
      ],
  );
  return { changes, marks: marks.map((one) => one ?? undefined) };
}

/** The marks of an agent as it was loaded. */
export function agentMarks(agent: AgentDetails | null | undefined): unknown[] {
  if (!agent) return [null];
  const { updated_at, build, plans } = agent;
  const logs = build?.logs.map((log) => log.updated_at).sort();
  return [[updated_at, build?.updated_at ?? null, logs?.at(-1) ?? null, ...newest(plans)]];
}

/** The marks of a session as it was loaded. */
export function sessionMarks({ agent, plans }: { agent: Agent | null; plans: readonly Plan[] }): unknown[] {
  return [[agent?.updated_at ?? null, ...newest(plans)]];
}

/** An older plan changes only together with the newest one, or with the agent. */
function newest([plan]: readonly Plan[]) {
  return [plan?.version ?? null, plan?.updated_at ?? null];
}

/** The marks of lists that were loaded. */
export function listMarks({ waiting, decided }: Shown, lists: Changes["lists"] = {}): ListMark[] {
  const names = [...(waiting ? WAITING : []), ...(decided ? DECIDED : [])];
  return names.map((name) => lists[name] ?? [0, null]);
}
