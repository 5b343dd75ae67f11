"use client";

import { countWaiting } from "@/lib/plans";
import { loadClient } from "@/lib/greenlight/load-client";
import { useWatch } from "@/hooks/use-watch";

/** How many proposals wait for the user, in the navigation. */
export function WaitingCount({ initial }: { initial: number }) {
  const { value: count } = useWatch(initial, async () => countWaiting(await loadClient()));
  if (count === 0) return null;
  return (
    <span className="count">
      {count}
      <span className="visually-hidden"> waiting</span>
    </span>
  );
}
