"use client";

import { useWatch } from "@/hooks/use-watch";
import { loadClient } from "@/lib/greenlight/load-client";
import { countWaiting } from "./load-plans";

/** How many proposals wait for the user, for a badge. Null until it is known. */
export function useWaitingCount(initial: number | null = null): number | null {
  return useWatch<number | null>(initial, async () => countWaiting(await loadClient())).value;
}
