import type { Metadata } from "next";
import Link from "next/link";
import { Notice } from "@/components/notice";
import { Page } from "@/components/page";
import { OpenPlan } from "@/components/open-plan";
import { Review } from "@/components/review";
import { Button } from "@/components/ui/button";
import { getPlanningSession, SESSION_ID } from "@/lib/greenlight/client";
import { errorMessage } from "@/lib/greenlight/errors";
import { requireUser } from "@/lib/supabase/server";

interface Props {
  searchParams: Promise<{ session?: string | string[] }>;
}

// Only the browser knows a draft's title, and sets it on the page.
export const metadata: Metadata = { title: "Plan" };

/** The plan under review, at /build?session=<the planning session's id>. */
export default async function BuildPage({ searchParams }: Props) {
  const { session } = await searchParams;
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
  const { supabase } = await requireUser(`/build?session=${session}`);
  return (
    <Page>
      <Review sessionId={session} session={await getPlanningSession(supabase, session)} />
    </Page>
  );
}

function isSessionId(session: string | string[] | undefined): session is string {
  return typeof session === "string" && SESSION_ID.test(session);
}
