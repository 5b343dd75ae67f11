import { getPlanningSession, SESSION_ID } from "greenlight-client";
import type { Metadata } from "next";
import Link from "next/link";
import { Notice } from "@/components/notice";
import { OpenPlan } from "@/components/open-plan";
import { Review } from "@/components/review";
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
  if (session === undefined) return <OpenPlan />;
  if (!isSessionId(session))
    return (
      <main id="content">
        <Notice title="Planning session not found">
          <p>{errorMessage("invalid_session_id")}</p>
          <p>
            <Link className="button" href="/build">
              Open a plan
            </Link>
          </p>
        </Notice>
      </main>
    );
  const { supabase } = await requireUser(`/build?session=${session}`);
  return <Review key={session} sessionId={session} initial={await getPlanningSession(supabase, session)} />;
}

function isSessionId(session: string | string[] | undefined): session is string {
  return typeof session === "string" && SESSION_ID.test(session);
}
