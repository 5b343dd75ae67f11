import { watchShown, type Changes, type Shown } from "@/lib/greenlight/client";
import { useEffect, useEffectEvent, useState } from "react";
import { loadClient } from "@/lib/greenlight/load-client";

/**
 * Keeps a value from the server up to date. All that a page watches asks together, with one small request, whether
 * anything of it changed: 2 seconds after a change or the page was opened, then more and more rarely, in the end every
 * 10 seconds. Only what has changed is loaded. `marks` spares the first load: see `watchShown`.
 * It pauses in a hidden tab, and keeps the last value if a load fails; `error` is the last failure. (Realtime would need the tables in its publication, which is
 * the project's to decide.)
 */
export function useWatch<Value>(
  initial: Value,
  load: (current: Value, changes?: Changes) => Promise<Value>,
  shown: (value: Value) => Shown,
  marks?: (value: Value) => unknown[],
) {
  const [value, setValue] = useState(initial);
  const [rendered, setRendered] = useState(initial);
  const [round, setRound] = useState(0);
  const [error, setError] = useState<unknown>();
  // The server rendered the page again: its value is newer.
  if (rendered !== initial) {
    setRendered(initial);
    setValue(initial);
  }

  const onLoad = useEffectEvent(load);
  const onShown = useEffectEvent(shown);
  const current = useEffectEvent(() => value);
  const onMarks = useEffectEvent((known: Value) => marks?.(known));
  useEffect(
    () =>
      watchShown(loadClient, (changes) => onLoad(current(), changes), setValue, {
        initial: current(),
        onError: setError,
        shown: () => onShown(current()),
        marks: onMarks,
      }),
    [round],
  );

  /** Loads now, and never throws. A load that has already started is ignored: its answer may be older. */
  async function reload(): Promise<void> {
    try {
      setValue(await load(value));
    } catch {
      // The next look tries again.
    }
    setRound((round) => round + 1);
  }

  return { value, reload, error };
}
