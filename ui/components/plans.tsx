"use client";

import Link from "next/link";
import { useRouter } from "next/navigation";
import { PlanInbox } from "@/components/greenlight/plan-inbox";
import type { Pages, Plans as Lists } from "@/components/greenlight/plan-inbox/load-plans";
import { Button } from "@/components/ui/button";
import { reviewOf } from "@/lib/paths";

/** What waits for the user, in this app. */
export function Plans({ pages, plans }: { pages: Pages; plans: Lists }) {
  const router = useRouter();
  return (
    <PlanInbox
      initial={{ pages, plans }}
      reviewHref={reviewOf}
      // Updates the number in the navigation.
      onDecided={() => {
        router.refresh();
      }}
      empty={
        <Button variant="outline" className="mt-2" asChild>
          <Link href="/build">Open a plan of your own</Link>
        </Button>
      }
    />
  );
}
