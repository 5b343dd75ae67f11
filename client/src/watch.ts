import { getAgent, UUID } from "./agents";
import { agentMarks, ask, type Changes, type Shown } from "./changes";
import { getPlan, type Owned, type PlanVersion } from "./plans";
import type { AgentDetails, Plan, Supabase } from "./types";

/** The pause after a change, and the one while Realtime reports changes. */
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

/** Watches an agent with its build and its session's plans: see `watchShown`. Null when it is deleted. */
export function watchAgent(
  supabase: Supabase,
  agentId: string,
  onChange: (agent: AgentDetails | null) => void,
  options: RealtimeOptions<AgentDetails | null> = {},
): () => void {
  return follow(
    supabase,
    { agent: `id=eq.${agentId}`, build: `agent_id=eq.${agentId}` },
    () => getAgent(supabase, agentId),
    onChange,
    { ...options, shown: () => ({ agentIds: UUID.test(agentId) ? [agentId] : [] }), marks: agentMarks },
  );
}

/** Watches one version of a session: see `watchShown`. Null before it is proposed. */
export function watchProposal(
  supabase: Supabase,
  plan: PlanVersion & Owned,
  onChange: (plan: Plan | null) => void,
  options: RealtimeOptions<Plan | null> = {},
): () => void {
  const { sessionId } = plan;
  return follow(
    supabase,
    { plan: `session_id=eq.${sessionId}` },
    () => getPlan(supabase, plan),
    onChange,
    // The plan says whose session it is. Until there is one, each look loads.
    { ...options, shown: (found) => found && { session: { sessionId, userId: found.user_id } } },
  );
}

/** A client, or what loads it before the first look. */
export type Source = Supabase | (() => Promise<Supabase>);

export interface ShownOptions<Value> extends WatchOptions<Value> {
  /** What is shown of a value. Where it is nothing, each look loads. */
  shown: (value: Value | undefined) => Shown | null | undefined;
  /** The marks of a value as it was loaded: without them, `initial` is loaded once more. */
  marks?: ((value: Value) => unknown[] | undefined) | undefined;
}

/**
 * Looks whether what is shown has changed; only then calls `load`, and `onChange` with the first value and each one that
 * differs. A look is one small request for all that is watched with the same `source`. It comes 2 seconds after a change
 * or the beginning, then less often, in the end every 10 seconds. Waits while the tab is hidden, and then loads.
 */
export function watchShown<Value>(
  source: Source,
  load: (changes: Changes) => Promise<Value>,
  onChange: (value: Value) => void,
  options: ShownOptions<Value>,
): () => void {
  return join(source, load, onChange, options).stop;
}

/**
 * Watches rows, and by Realtime if asked for. A message of Realtime only says when to look. A deletion sends none (row
 * level security hides the row), so looking goes on, slowly.
 */
function follow<Value>(
  supabase: Supabase,
  filters: Record<string, string>,
  load: () => Promise<Value>,
  onChange: (value: Value) => void,
  { realtime = false, ...options }: RealtimeOptions<Value> & ShownOptions<Value>,
): () => void {
  const { watcher, look, stop, stopped } = join(supabase, load, onChange, options);
  if (!realtime || stopped.aborted) return stop;

  // A unique name: watchers with the same name would share a channel, and the first one to stop would close it.
  let channel = supabase.channel(`greenlight-${crypto.randomUUID()}`);
  for (const [table, filter] of Object.entries(filters))
    channel = channel.on("postgres_changes", { event: "*", schema: "public", table, filter }, look);
  channel.subscribe((status: string) => {
    watcher.subscribed = status === "SUBSCRIBED";
    // Load changes from before the subscription, or from while it was lost.
    look();
  });
  stopped.addEventListener("abort", () => void supabase.removeChannel(channel));
  return stop;
}

type Outcome = "first" | "changed" | "same";

/** What looks together with others. */
interface Watcher {
  shown: () => Shown | null | undefined;
  /** Loads, unless the marks are those of before. */
  look: (changes: Changes, marks: unknown[] | undefined) => Promise<Outcome>;
  fail: (error: unknown) => void;
  /** Makes the next look load. */
  forget: () => void;
  subscribed: boolean;
}

function join<Value>(
  source: Source,
  load: (changes: Changes) => Promise<Value>,
  onChange: (value: Value) => void,
  { initial, shown, marks, onError, signal }: ShownOptions<Value>,
) {
  const { stop, stopped } = stopper(signal);
  let value = initial;
  let text = toText(initial);
  let known = initial === undefined ? undefined : toText(marks?.(initial));
  const watcher: Watcher = {
    subscribed: false,
    shown: () => shown(value),
    forget: () => {
      known = undefined;
    },
    fail: (error) => {
      if (!stopped.aborted) onError?.(error);
    },
    look: async (changes, marks) => {
      const said = toText(marks);
      if (said !== undefined && said === known) return "same";
      const found = await load(changes);
      const outcome = value === undefined ? "first" : "changed";
      value = found;
      known = said;
      const before = text;
      text = toText(found);
      if (text === before) return "same";
      // Later, so that an exception in the caller's code does not stop the watching.
      void Promise.resolve().then(() => {
        if (!stopped.aborted) onChange(found);
      });
      return outcome;
    },
  };
  const beat = stopped.aborted ? undefined : pulseOf(source);
  beat?.add(watcher, initial === undefined);
  stopped.addEventListener("abort", () => beat?.remove(watcher));
  return { watcher, look: () => beat?.look(), stop, stopped };
}

function toText(value: unknown): string | undefined {
  return JSON.stringify(value);
}

// What was just opened leaves out the second, so that it looks six times in its first minute, as in each later one.
const PAUSES_MS = [CHANGING_MS, 4_000, 8_000, 10_000] as const;

type Pulse = ReturnType<typeof startPulse>;
const pulses = new WeakMap<Source, Pulse>();

/** What looks for all watchers with the same source. */
function pulseOf(source: Source): Pulse {
  const pulse = pulses.get(source) ?? startPulse(source);
  pulses.set(source, pulse);
  return pulse;
}

function startPulse(source: Source) {
  const watchers = new Set<Watcher>();
  let step = 0;
  let isNew = true;
  let isDue = false;

  async function lookAll() {
    const all = [...watchers];
    const { changes, marks } = await askAll(all).catch((error: unknown) => {
      for (const { fail } of all) fail(error);
      throw error;
    });
    const looks = all.map(async ({ look, fail }, at) =>
      look(changes, marks[at]).catch((error: unknown) => {
        fail(error);
        throw error;
      }),
    );
    const outcomes = await Promise.allSettled(looks);
    const values = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : undefined));
    if (values.includes("changed")) {
      step = 0;
      isNew = false;
    } else if (!values.includes("first")) {
      step = Math.min(step + (isNew ? 2 : 1), PAUSES_MS.length - 1);
      isNew = false;
    }
    // The first failure makes the pause longer.
    await Promise.all(looks);
    return true;
  }

  async function askAll(all: Watcher[]) {
    const supabase = typeof source === "function" ? await source() : source;
    const shown = all.map((watcher) => watcher.shown());
    return ask(supabase, shown);
  }

  function begin() {
    step = 0;
    isNew = true;
  }

  const { look, restart, stop, stopped } = start(lookAll, () => undefined, {
    initial: true,
    intervalMs: () =>
      [...watchers].every(({ subscribed }) => subscribed) ? SETTLED_MS : (PAUSES_MS[step] ?? SETTLED_MS),
  });
  tab()?.addEventListener(
    "visibilitychange",
    () => {
      if (!isHidden()) return;
      begin();
      for (const { forget } of watchers) forget();
    },
    { signal: stopped },
  );
  return {
    look,
    add: (watcher: Watcher, now: boolean) => {
      watchers.add(watcher);
      begin();
      if (!now) restart();
      else if (!isDue) {
        isDue = true;
        // When all that begins at this moment is there.
        queueMicrotask(() => {
          isDue = false;
          look();
        });
      }
    },
    remove: (watcher: Watcher) => {
      watchers.delete(watcher);
      if (watchers.size > 0) return;
      stop();
      pulses.delete(source);
    },
  };
}

/** Only browsers have one. */
const tab = (): Document | undefined => globalThis.document;
const isHidden = () => tab()?.visibilityState === "hidden";

function stopper(signal: AbortSignal | undefined) {
  const stopping = new AbortController();
  const stopped = stopping.signal;
  const stop = () => {
    stopping.abort();
  };
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { signal: stopped });
  return { stop, stopped };
}

function start<Value>(
  load: () => Promise<Value>,
  onChange: (value: Value) => void,
  { intervalMs, initial, onError, signal }: WatchOptions<Value> & { intervalMs: (value: Value) => number },
) {
  const { stop, stopped } = stopper(signal);
  let loading = false;
  let askedMeanwhile = false;
  let failures = 0;
  let last = initial === undefined ? undefined : JSON.stringify(initial);
  let timer: ReturnType<typeof setTimeout> | undefined;

  const look = () => {
    clearTimeout(timer);
    if (loading) askedMeanwhile = true;
    // Load at once when the tab becomes visible.
    else if (!stopped.aborted && !isHidden()) void attempt();
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
  /** Waits for the interval of `initial`, unless a load is under way. */
  const restart = () => {
    if (loading || stopped.aborted || initial === undefined) return;
    clearTimeout(timer);
    timer = setTimeout(look, intervalMs(initial));
  };

  tab()?.addEventListener("visibilitychange", look, { signal: stopped });
  stopped.addEventListener("abort", () => {
    clearTimeout(timer);
  });
  if (initial === undefined) look();
  else restart();
  return { look, restart, stop, stopped };
}
