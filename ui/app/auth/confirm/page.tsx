import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { confirm } from "@/actions/auth";
import { AuthCard } from "@/components/auth-card";
import { Button } from "@/components/ui/button";
import { LINK_TYPES } from "@/lib/links";
import { safePath } from "@/lib/paths";
import { currentUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Continue" };

interface Props {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}

/**
 * The target of the links in mails: with a code, or with a token hash and its type if the mail's template says so.
 * Opening a link with a token hash does nothing: programs that read mail open links, and someone else may have made it.
 */
export default async function ConfirmPage({ searchParams }: Props) {
  const { code, token_hash, type = "email", next: path } = await searchParams;
  const next = safePath(one(path));
  if (code) redirect(`/auth/code?${new URLSearchParams({ code: one(code), next }).toString()}`);
  const known = LINK_TYPES.safeParse(type);
  const hash = one(token_hash);
  if (!hash || !known.success) redirect(`/sign-in?confirm=failed&next=${encodeURIComponent(next)}`);
  const user = await currentUser();
  return (
    <AuthCard title={TITLES[known.data] ?? "Sign in with this link"}>
      <form action={confirm} className="grid gap-4 text-sm [overflow-wrap:anywhere] text-muted-foreground">
        <p>
          Continue only if you asked for the mail with this link. It signs you in to the account that the mail
          was sent to.
        </p>
        {user && (
          <p>
            You are signed in as <strong className="text-foreground">{user.email}</strong>. If the link is for
            another account, you change to that one.
          </p>
        )}
        <input type="hidden" name="token_hash" value={hash} />
        <input type="hidden" name="type" value={known.data} />
        <input type="hidden" name="next" value={next} />
        <Button size="lg">Continue</Button>
      </form>
    </AuthCard>
  );
}

const TITLES: Partial<Record<string, string>> = {
  recovery: "Reset your password",
  signup: "Confirm your email address",
  email_change: "Confirm your email address",
  invite: "Accept the invitation",
};

function one(value: string | string[] | undefined): string {
  return typeof value === "string" ? value : "";
}
