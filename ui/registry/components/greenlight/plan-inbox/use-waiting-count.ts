"use client";

import { useWatch } from "@/hooks/use-watch";
import { loadClient } from "@/lib/greenlight/load-client";
import { countWaiting, waitingIn } from "./load-plans";

/** How many proposals wait for the user, for a badge. Null until it is known. */
export function useWaitingCount(initial: number | null = null): number | null {
  const { value = null } = useWatch<number | undefined>(
    initial ?? undefined,
    async (_, changes) => (changes ? waitingIn(changes) : countWaiting(await loadClient())),
    () => ({ waiting: true }),
  );
  return value;
}
