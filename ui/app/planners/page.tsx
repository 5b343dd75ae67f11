import type { Metadata } from "next";
import { ProblemNotice } from "@/components/consent-form";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";
import { Page } from "@/components/page";
import { PageTitle } from "@/components/page-title";
import { RevokeGrant } from "@/components/revoke-grant";
import { destination, problemOf } from "@/lib/oauth";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Connected planners" };

/** The OAuth clients that this user has let act for them. */
export default async function PlannersPage() {
  const { supabase } = await requireUser("/planners");
  const { data: grants, error } = await supabase.auth.oauth.listGrants();
  return (
    <Page className="grid max-w-3xl content-start gap-6">
      <header className="grid gap-2">
        <PageTitle>Connected planners</PageTitle>
        <p className="text-sm text-muted-foreground">
          These programs may propose plans to you, withdraw them, and read your plans and agents. None of them
          can approve.
        </p>
      </header>
      {error ? (
        <ProblemNotice problem={problemOf(error)} />
      ) : grants.length === 0 ? (
        <p className="text-sm text-muted-foreground">No planner is connected.</p>
      ) : (
        <ul className="divide-y rounded-lg border bg-card">
          {grants.map(({ client, granted_at }) => (
            <li key={client.id} className="flex flex-wrap items-center justify-between gap-4 p-4">
              <div className="grid gap-0.5">
                <strong className="font-medium">
                  <PlainText>{client.name || "A planner without a name"}</PlainText>
                </strong>
                <span className="text-[13px] text-muted-foreground">
                  {client.uri && <PlainText>{`${destination(client.uri)} · `}</PlainText>}
                  allowed <Time at={granted_at} />
                </span>
              </div>
              <RevokeGrant clientId={client.id} name={client.name || "the planner without a name"} />
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
