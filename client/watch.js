/** @import { RealtimeOptions, Supabase, WatchOptions } from "./types.js" */
/** @import * as greenlight from "./types.js" */

import { getAgent } from "./agents.js";
import { getPlan } from "./plans.js";

const CHANGING_MS = 2_000;
const SETTLED_MS = 20_000;
const LONGEST_MS = 60_000;

/** @type {typeof greenlight.watch} */
export function watch(load, onChange, options) {
  return start(load, onChange, options).stop;
}

/** @type {typeof greenlight.watchAgent} */
export function watchAgent(supabase, agentId, onChange, options = {}) {
  const tables = { agent: `id=eq.${agentId}`, build: `agent_id=eq.${agentId}` };
  return follow(
    supabase,
    tables,
    () => getAgent(supabase, agentId),
    (agent) => agent?.status === "building",
    onChange,
    options,
  );
}

/** @type {typeof greenlight.watchProposal} */
export function watchProposal(supabase, plan, onChange, options = {}) {
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
 *
 * @template Value
 * @param {Supabase} supabase
 * @param {Record<string, string>} tables their filters
 * @param {() => Promise<Value>} load
 * @param {(value: Value) => boolean} isChanging
 * @param {(value: Value) => void} onChange
 * @param {RealtimeOptions<Value>} options
 */
function follow(supabase, tables, load, isChanging, onChange, { realtime = false, ...options }) {
  let subscribed = false;
  const { look, stop, stopped } = start(load, onChange, {
    ...options,
    intervalMs: (value) => (isChanging(value) && !subscribed ? CHANGING_MS : SETTLED_MS),
  });
  if (!realtime || stopped.aborted) return stop;

  // A unique name: watchers with the same name would share a channel, and the first one to stop would close it.
  let channel = supabase.channel(`greenlight-${crypto.randomUUID()}`);
  for (const [table, filter] of Object.entries(tables))
    channel = channel.on("postgres_changes", { event: "*", schema: "public", table, filter }, look);
  channel.subscribe((/** @type {string} */ status) => {
    subscribed = status === "SUBSCRIBED";
    // Load changes from before the subscription, or from while it was lost.
    look();
  });
  stopped.addEventListener("abort", () => void supabase.removeChannel(channel));
  return stop;
}

/**
 * Only browsers have one.
 *
 * @returns {Document | undefined}
 */
const tab = () => globalThis.document;

/**
 * @template Value
 * @param {() => Promise<Value>} load
 * @param {(value: Value) => void} onChange
 * @param {WatchOptions<Value> & { intervalMs: (value: Value) => number }} options
 */
function start(load, onChange, { intervalMs, initial, onError, signal }) {
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
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

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
  const succeeded = (/** @type {Value} */ value) => {
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
  const failed = (/** @type {unknown} */ error) => {
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
