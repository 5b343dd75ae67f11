import { Check, X } from "lucide-react";
import type { Metadata } from "next";
import Link from "next/link";
import { redirect } from "next/navigation";
import { AuthCard } from "@/components/auth-card";
import { ConsentForm } from "@/components/consent-form";
import { PlainText } from "@/components/greenlight/plain-text";
import {
  AUTHORIZATION_ID,
  destination,
  mayOpen,
  problemOf,
  PROBLEMS,
  scopesInWords,
  type Problem,
} from "@/lib/oauth";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Connect a planner" };

interface Props {
  searchParams: Promise<{ authorization_id?: string | string[] }>;
}

/** Where Supabase Auth sends a user whom a planner asks for access: `auth.oauth_server.authorization_url_path`. */
export default async function ConsentPage({ searchParams }: Props) {
  const { authorization_id: id } = await searchParams;
  if (typeof id !== "string" || !AUTHORIZATION_ID.test(id)) return <Failed problem="gone" />;
  const { supabase, user } = await requireUser(`/oauth/consent?authorization_id=${id}`);
  const { data, error } = await supabase.auth.oauth.getAuthorizationDetails(id);
  if (error) return <Failed problem={problemOf(error)} />;
  // The user has allowed the same before.
  if (!("authorization_id" in data)) {
    if (!mayOpen(data.redirect_url)) return <Failed problem="unsafe" />;
    redirect(data.redirect_url);
  }
  if (!mayOpen(data.redirect_uri)) return <Failed problem="unsafe" />;
  const name = <PlainText>{data.client.name || "A planner without a name"}</PlainText>;
  return (
    <AuthCard title={<>Let {name} plan for you?</>}>
      <p className="text-sm text-muted-foreground">
        It asks to act for{" "}
        <strong className="font-medium [overflow-wrap:anywhere] text-foreground">{user.email}</strong>. If
        this is not your account, deny, sign out, and connect again.
      </p>
      <ul className="grid gap-2 text-sm [&_svg]:mt-0.5 [&_svg]:size-4 [&_svg]:shrink-0 [&>li]:flex [&>li]:gap-2">
        <li>
          <Check aria-hidden className="text-success" />
          <span>It may propose plans, withdraw them, and read your plans and agents.</span>
        </li>
        <li>
          <X aria-hidden className="text-destructive" />
          <span>
            It can <strong>never approve</strong> a plan, nor send it back or reject it. Only you can.
          </span>
        </li>
      </ul>
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1 text-[13px] [&>dd]:[overflow-wrap:anywhere] [&>dt]:text-muted-foreground">
        <dt>Returns to</dt>
        <dd>
          <PlainText>{destination(data.redirect_uri)}</PlainText>
        </dd>
        {data.scope && (
          <>
            <dt>Learns about you</dt>
            <dd>
              <PlainText>{scopesInWords(data.scope)}</PlainText>
            </dd>
          </>
        )}
      </dl>
      <p className="text-[13px] text-muted-foreground">
        The planner has chosen its name itself. Allow it only if you have just connected it.
      </p>
      <ConsentForm id={id} />
    </AuthCard>
  );
}

function Failed({ problem }: { problem: Problem }) {
  const { title, text } = PROBLEMS[problem];
  return (
    <AuthCard
      title={title}
      footer={
        <Link className="text-primary underline underline-offset-4" href="/planners">
          Connected planners
        </Link>
      }
    >
      <p className="text-sm text-muted-foreground">{text}</p>
    </AuthCard>
  );
}
