"use server";

import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { z } from "zod";
import { LINK_TYPES } from "@/lib/links";
import { safePath } from "@/lib/paths";
import { createClient, forgetSession } from "@/lib/supabase/server";

export interface AuthState {
  error?: string;
  /** A mail was sent: there is no session yet. */
  notice?: string;
  email?: string;
}

const Email = z.object({ email: z.email("This is not an email address."), next: z.string().optional() });
const Password = z.object({ password: z.string().min(1, "Enter a password.") });
const Link = z.object({ token_hash: z.string(), type: LINK_TYPES, next: z.string() });
const Factor = z.object({ factor: z.uuid(), code: z.string(), next: z.string().optional() });
const Credentials = z.object({ ...Email.shape, ...Password.shape });

const MESSAGES: Record<string, string> = {
  invalid_credentials: "Email or password is wrong.",
  email_not_confirmed: "Confirm your email address first: the link is in your inbox.",
  user_already_exists: "An account with this address already exists. Sign in instead.",
  email_exists: "An account with this address already exists. Sign in instead.",
  weak_password: "This password is too easy to guess. Choose a longer one.",
  same_password: "This is already your password. Choose another one.",
  reauthentication_needed: "Sign in again first, then choose a new password.",
  signup_disabled: "New accounts cannot be created at the moment.",
  session_too_large:
    "Your account holds more data than the browser can keep in cookies. Ask those who run this app to make its user metadata smaller.",
  mfa_verification_failed: "This code is wrong, or it has expired. Enter the one that the app shows now.",
  mfa_challenge_expired: "That took too long. Enter the code that the app shows now.",
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

/** Verifies the user's second factor: their session is a stronger one then, and a fresh one. */
export async function verifyFactor(_: AuthState, form: FormData): Promise<AuthState> {
  const { factor, code, next } = Factor.parse(Object.fromEntries(form));
  const supabase = await createClient();
  const { error } = await supabase.auth.mfa.challengeAndVerify({ factorId: factor, code });
  if (error) return { error: message(error) };
  redirect(safePath(next));
}

export async function signUp(_: AuthState, form: FormData): Promise<AuthState> {
  const input = Credentials.safeParse(Object.fromEntries(form));
  if (!input.success) return invalid(input.error, form);
  const { email, password, next } = input.data;
  const supabase = await createClient();
  const { data, error } = await supabase.auth.signUp({
    email,
    password,
    options: { emailRedirectTo: await confirmUrl(safePath(next)) },
  });
  if (error) return { error: message(error), email };
  if (!data.session) return { notice: `We sent a link to ${email}. Open it to finish.`, email };
  redirect(safePath(next));
}

/** Signs in with the token hash of a mail's link, once the visitor has asked for it: see /auth/confirm. */
export async function confirm(form: FormData): Promise<void> {
  const { token_hash, type, next } = Link.parse(Object.fromEntries(form));
  const supabase = await createClient();
  const { error } = await supabase.auth.verifyOtp({ token_hash, type });
  redirect(error ? `/sign-in?confirm=failed&next=${encodeURIComponent(safePath(next))}` : safePath(next));
}

/** Sends a mail with a link that signs the user in and leads to the form for a new password. */
export async function requestPasswordReset(_: AuthState, form: FormData): Promise<AuthState> {
  const input = Email.safeParse(Object.fromEntries(form));
  if (!input.success) return invalid(input.error, form);
  const { email, next } = input.data;
  const supabase = await createClient();
  const { error } = await supabase.auth.resetPasswordForEmail(email, {
    redirectTo: await confirmUrl(`/update-password?next=${encodeURIComponent(safePath(next))}`),
  });
  if (error) return { error: message(error), email };
  // The same answer for every address: it does not tell who has an account.
  return {
    notice: `If there is an account for ${email}, we sent a link to it. Open the link to continue.`,
    email,
  };
}

export async function updatePassword(_: AuthState, form: FormData): Promise<AuthState> {
  const input = Password.extend({ next: z.string().optional() }).safeParse(Object.fromEntries(form));
  if (!input.success) return invalid(input.error, form);
  const { password, next } = input.data;
  const supabase = await createClient();
  const { error } = await supabase.auth.updateUser({ password });
  if (error) return { error: message(error) };
  redirect(safePath(next));
}

/** Ends this browser's session. Drafts stay, under the user's own key. */
export async function signOut(): Promise<void> {
  const supabase = await createClient();
  const { error } = await supabase.auth.signOut({ scope: "local" });
  if (error) await forgetSession();
  redirect("/sign-in");
}

async function confirmUrl(next: string): Promise<string> {
  const origin = (await headers()).get("origin") ?? "";
  return `${origin}/auth/confirm?next=${encodeURIComponent(next)}`;
}

function invalid(error: z.ZodError, form: FormData): AuthState {
  const email = form.get("email");
  return { error: error.issues[0]?.message ?? "", email: typeof email === "string" ? email : "" };
}

function message(error: { code?: string | undefined; status?: number | undefined; name: string }): string {
  if (error.name === "AuthRetryableFetchError")
    return "Sign-in is not available at the moment. Try again in a minute.";
  return MESSAGES[error.code ?? ""] ?? "That did not work. Check what you typed, and try again.";
}
