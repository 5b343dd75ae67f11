import type { Metadata } from "next";
import { StepUpForm } from "@/components/step-up-form";
import { safePath } from "@/lib/paths";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Confirm that it is you" };

interface Props {
  searchParams: Promise<{ next?: string | string[] }>;
}

/** Where a decision leads that needs a second factor or a fresh sign-in, and from where the user comes back to it. */
export default async function StepUpPage({ searchParams }: Props) {
  const { next } = await searchParams;
  const path = safePath(typeof next === "string" ? next : null, "/plans");
  const { supabase, user } = await requireUser(`/step-up?next=${encodeURIComponent(path)}`);
  const { data } = await supabase.auth.mfa.listFactors();
  return <StepUpForm next={path} email={user.email} factorId={data?.totp[0]?.id} />;
}
