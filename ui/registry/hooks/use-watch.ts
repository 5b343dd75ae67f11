import { CHANGING_MS, SETTLED_MS, watch } from "@/lib/greenlight/client";
import { useEffect, useEffectEvent, useState } from "react";

/**
 * Keeps a value from the server up to date: loads it again every 2 seconds while something changes, else every 20.
 * It pauses in a hidden tab, and keeps the last value if a load fails; `error` is the last failure. (Realtime would need the tables in its publication, which is
 * the project's to decide.)
 */
export function useWatch<Value>(
  initial: Value,
  load: (current: Value) => Promise<Value>,
  isMoving: (value: Value) => boolean = () => false,
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
  const isMovingNow = useEffectEvent(isMoving);
  const current = useEffectEvent(() => value);
  useEffect(
    () =>
      watch(() => onLoad(current()), setValue, {
        initial: current(),
        onError: setError,
        intervalMs: (value) => (isMovingNow(value) ? CHANGING_MS : SETTLED_MS),
      }),
    [round],
  );

  /** Loads now, and never throws. A load that has already started is ignored: its answer may be older. */
  async function reload(): Promise<void> {
    try {
      setValue(await load(value));
    } catch {
      // The next poll tries again.
    }
    setRound((round) => round + 1);
  }

  return { value, reload, error };
}
