import { getAgent } from "./agents";
import { getPlan, type Owned, type PlanVersion } from "./plans";
import type { AgentDetails, Plan, Supabase } from "./types";

/** How often a row is loaded again while it is expected to change, and otherwise. */
export const CHANGING_MS = 2_000;
export const SETTLED_MS = 20_000;
const LONGEST_MS = 60_000;

export interface WatchOptions<Value> {
  /** The value that is already known. The first load then comes after its interval, not at once. */
  initial?: Value | undefined;
  /** Called after each failure. Watching continues; the pause grows with each failure, up to a minute. */
  onError?: ((error: unknown) => void) | undefined;
  /** Another way to stop. */
  signal?: AbortSignal | undefined;
}

export interface RealtimeOptions<Value> extends WatchOptions<Value> {
  /** Load as soon as Realtime reports a change, and poll rarely. Its publication needs the tables: see the README. */
  realtime?: boolean | undefined;
}

/**
 * Calls `load` now and then again after `intervalMs(value)`, and `onChange` with the first value and each one that
 * differs from the one before. Waits while the tab is hidden. Returns a function that stops it.
 */
export function watch<Value>(
  load: () => Promise<Value>,
  onChange: (value: Value) => void,
  options: WatchOptions<Value> & { intervalMs: (value: Value) => number },
): () => void {
  return start(load, onChange, options).stop;
}

/** Watches an agent: every 2 seconds while it is being built, else every 20. Null when it is deleted. */
export function watchAgent(
  supabase: Supabase,
  agentId: string,
  onChange: (agent: AgentDetails | null) => void,
  options: RealtimeOptions<AgentDetails | null> = {},
): () => void {
  const filters = { agent: `id=eq.${agentId}`, build: `agent_id=eq.${agentId}` };
  return follow(
    supabase,
    filters,
    () => getAgent(supabase, agentId),
    (agent) => agent?.status === "building",
    onChange,
    options,
  );
}

/** Watches one version of a session: every 2 seconds until it is decided, then every 20. Null before it is proposed. */
export function watchProposal(
  supabase: Supabase,
  plan: PlanVersion & Owned,
  onChange: (plan: Plan | null) => void,
  options: RealtimeOptions<Plan | null> = {},
): () => void {
  return follow(
    supabase,
    { plan: `session_id=eq.${plan.sessionId}` },
    () => getPlan(supabase, plan),
    (found) => found === null || found.status === "proposed",
    onChange,
    options,
  );
}

/**
 * Watches rows: by polling, quickly while they are expected to change, and by Realtime if asked for. A message of
 * Realtime only says when to look. A deletion sends none (row level security hides the row), so polling goes on, slowly.
 */
function follow<Value>(
  supabase: Supabase,
  filters: Record<string, string>,
  load: () => Promise<Value>,
  isChanging: (value: Value) => boolean,
  onChange: (value: Value) => void,
  { realtime = false, ...options }: RealtimeOptions<Value>,
): () => void {
  let subscribed = false;
  const { look, stop, stopped } = start(load, onChange, {
    ...options,
    intervalMs: (value) => (isChanging(value) && !subscribed ? CHANGING_MS : SETTLED_MS),
  });
  if (!realtime || stopped.aborted) return stop;

  // A unique name: watchers with the same name would share a channel, and the first one to stop would close it.
  let channel = supabase.channel(`greenlight-${crypto.randomUUID()}`);
  for (const [table, filter] of Object.entries(filters))
    channel = channel.on("postgres_changes", { event: "*", schema: "public", table, filter }, look);
  channel.subscribe((status: string) => {
    subscribed = status === "SUBSCRIBED";
    // Load changes from before the subscription, or from while it was lost.
    look();
  });
  stopped.addEventListener("abort", () => void supabase.removeChannel(channel));
  return stop;
}

/** Only browsers have one. */
const tab = (): Document | undefined => globalThis.document;

function start<Value>(
  load: () => Promise<Value>,
  onChange: (value: Value) => void,
  { intervalMs, initial, onError, signal }: WatchOptions<Value> & { intervalMs: (value: Value) => number },
) {
  const page = tab();
  const stopping = new AbortController();
  const stopped = stopping.signal;
  const stop = () => {
    stopping.abort();
  };
  let loading = false;
  let askedMeanwhile = false;
  let failures = 0;
  let last = initial === undefined ? undefined : JSON.stringify(initial);
  let timer: ReturnType<typeof setTimeout> | undefined;

  const look = () => {
    clearTimeout(timer);
    if (loading) askedMeanwhile = true;
    // Load at once when the tab becomes visible.
    else if (!stopped.aborted && page?.visibilityState !== "hidden") void attempt();
  };
  const attempt = async () => {
    loading = true;
    const { delay, tell } = await load().then(succeeded, failed);
    loading = false;
    if (stopped.aborted) return;
    timer = setTimeout(look, askedMeanwhile ? 0 : delay);
    askedMeanwhile = false;
    // Last, so that an exception in the caller's code does not stop the watching.
    tell();
  };
  const succeeded = (value: Value) => {
    failures = 0;
    return {
      delay: intervalMs(value),
      tell: () => {
        const text = JSON.stringify(value);
        if (text === last) return;
        last = text;
        onChange(value);
      },
    };
  };
  const failed = (error: unknown) => {
    failures++;
    return {
      delay: Math.min(CHANGING_MS * 2 ** failures, LONGEST_MS),
      tell: () => onError?.(error),
    };
  };

  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { signal: stopped });
  page?.addEventListener("visibilitychange", look, { signal: stopped });
  stopped.addEventListener("abort", () => {
    clearTimeout(timer);
  });
  if (initial === undefined) look();
  else if (!stopped.aborted) timer = setTimeout(look, intervalMs(initial));
  return { look, stop, stopped };
}
