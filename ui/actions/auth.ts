"use server";

import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { z } from "zod";
import { safePath } from "@/lib/paths";
import { createClient } from "@/lib/supabase/server";

export interface AuthState {
  error?: string;
  /** Good news without a session: a mail is on its way. */
  notice?: string;
  email?: string;
}

const Credentials = z.object({
  email: z.email("This is not an email address."),
  password: z.string().min(1, "The password is missing."),
  next: z.string().optional(),
});

const MESSAGES: Record<string, string> = {
  invalid_credentials: "Email or password is wrong.",
  email_not_confirmed: "Confirm your email address first: the link is in your inbox.",
  user_already_exists: "There is an account with this address already. Sign in instead.",
  email_exists: "There is an account with this address already. Sign in instead.",
  weak_password: "This password is too easy to guess. Take a longer one.",
  signup_disabled: "New accounts are not being taken at the moment.",
  over_request_rate_limit: "Too many attempts. Wait a minute, then try again.",
  over_email_send_rate_limit: "Too many mails were sent. Wait a while, then try again.",
};

export async function signIn(_: AuthState, form: FormData): Promise<AuthState> {
  const input = Credentials.safeParse(Object.fromEntries(form));
  if (!input.success) return invalid(input.error, form);
  const { email, password, next } = input.data;
  const supabase = await createClient();
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (error) return { error: message(error), email };
  redirect(safePath(next));
}

export async function signUp(_: AuthState, form: FormData): Promise<AuthState> {
  const input = Credentials.safeParse(Object.fromEntries(form));
  if (!input.success) return invalid(input.error, form);
  const { email, password, next } = input.data;
  const supabase = await createClient();
  const origin = (await headers()).get("origin") ?? "";
  const { data, error } = await supabase.auth.signUp({
    email,
    password,
    options: { emailRedirectTo: `${origin}/auth/confirm?next=${encodeURIComponent(safePath(next))}` },
  });
  if (error) return { error: message(error), email };
  if (!data.session) return { notice: `We sent a link to ${email}. Open it to finish.`, email };
  redirect(safePath(next));
}

/** Ends this browser's session; drafts stay, under the user's own key. */
export async function signOut(): Promise<void> {
  const supabase = await createClient();
  await supabase.auth.signOut({ scope: "local" });
  redirect("/sign-in");
}

function invalid(error: z.ZodError, form: FormData): AuthState {
  const email = form.get("email");
  return { error: error.issues[0]?.message ?? "", email: typeof email === "string" ? email : "" };
}

function message(error: { code?: string | undefined; status?: number | undefined; name: string }): string {
  if (error.name === "AuthRetryableFetchError")
    return "Signing in is down at the moment. Try again in a minute.";
  return MESSAGES[error.code ?? ""] ?? "That did not work. Check what you typed, and try again.";
}
