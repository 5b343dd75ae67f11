import type { Metadata } from "next";
import Link from "next/link";
import { z } from "zod";
import { Notice } from "@/components/notice";
import { Page } from "@/components/page";
import { OpenPlan } from "@/components/open-plan";
import { Review } from "@/components/review";
import { Button } from "@/components/ui/button";
import { loadSession } from "@/components/greenlight/plan-review/session";
import { SESSION_ID } from "@/lib/greenlight/client";
import { errorMessage } from "@/lib/greenlight/errors";
import { reviewOf } from "@/lib/paths";
import { requireUser } from "@/lib/supabase/server";

interface Props {
  searchParams: Promise<{ session?: string | string[]; user?: string | string[] }>;
}

// Only the browser knows a draft's title, and sets it on the page.
export const metadata: Metadata = { title: "Plan" };

/**
 * The plan under review, at /build?session=<the planning session's id>; of another owner, for the approvers of their team,
 * with &user=<the owner's id>.
 */
export default async function BuildPage({ searchParams }: Props) {
  const { session, user: owner } = await searchParams;
  if (session === undefined)
    return (
      <Page>
        <OpenPlan />
      </Page>
    );
  if (!isSessionId(session))
    return (
      <Notice
        light="amber"
        title="Planning session not found"
        actions={
          <Button variant="outline" asChild>
            <Link href="/build">Open a plan</Link>
          </Button>
        }
      >
        {errorMessage("invalid_session_id")}
      </Notice>
    );
  if (owner !== undefined && !isUserId(owner)) return <NotFound />;
  const { supabase, user } = await requireUser(reviewOf(session, owner));
  const found = await loadSession(supabase, session, undefined, owner ?? user.id);
  if (owner !== undefined && owner !== user.id && found.plans.length === 0) return <NotFound />;
  return (
    <Page>
      <Review sessionId={session} owner={owner} session={found} />
    </Page>
  );
}

function NotFound() {
  return (
    <Notice
      light="amber"
      title="Plan not found"
      actions={
        <Button variant="outline" asChild>
          <Link href="/plans">Go to your plans</Link>
        </Button>
      }
    >
      There is no such plan, or you are not in the team of its owner.
    </Notice>
  );
}

function isUserId(user: string | string[]): user is string {
  return typeof user === "string" && z.uuid().safeParse(user).success;
}

function isSessionId(session: string | string[] | undefined): session is string {
  return typeof session === "string" && SESSION_ID.test(session);
}
