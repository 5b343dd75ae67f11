"use client";

import { useWaitingCount } from "@/components/greenlight/plan-inbox/use-waiting-count";
import { Badge } from "@/components/ui/badge";

/** How many proposals wait for the user, in the navigation. */
export function WaitingCount({ initial }: { initial: number }) {
  const count = useWaitingCount(initial);
  if (!count) return null;
  return (
    <Badge>
      {count}
      <span className="sr-only"> waiting</span>
    </Badge>
  );
}
