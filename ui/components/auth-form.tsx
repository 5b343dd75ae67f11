"use client";

import Link from "next/link";
import { useSearchParams } from "next/navigation";
import { useActionState } from "react";
import type { AuthState } from "@/actions/auth";
import { Logo } from "./logo";

interface Props {
  action: (state: AuthState, form: FormData) => Promise<AuthState>;
  title: string;
  submit: string;
  fields: ("email" | "password" | "new-password")[];
  other: { question: string; label: string; href: string };
}

/** The form of the pages for signing in, signing up and resetting the password. */
export function AuthForm({ action, title, submit, fields, other }: Props) {
  const params = useSearchParams();
  const next = params.get("next") ?? "";
  const first: AuthState =
    params.get("confirm") === "failed"
      ? { error: "This link has already been used, or it has expired. Sign in, or request a new one." }
      : {};
  const [state, submitForm, pending] = useActionState(action, first);
  const withNext = (href: string) => (next ? `${href}?next=${encodeURIComponent(next)}` : href);
  const newPassword = fields.includes("new-password");
  return (
    <main id="content" className="auth">
      <div className="auth-card">
        <div className="auth-logo">
          <Logo />
          <span>Greenlight</span>
        </div>
        <h1>{title}</h1>
        <form action={submitForm}>
          <input type="hidden" name="next" value={next} />
          {fields.includes("email") && (
            <label>
              Email
              <input
                name="email"
                type="email"
                autoComplete="email"
                required
                defaultValue={state.email}
                key={state.email}
              />
            </label>
          )}
          {(fields.includes("password") || newPassword) && (
            <label>
              {fields.length === 1 ? "New password" : "Password"}
              <input
                name="password"
                type="password"
                autoComplete={newPassword ? "new-password" : "current-password"}
                minLength={newPassword ? 8 : undefined}
                required
              />
            </label>
          )}
          {newPassword && <p className="hint">At least 8 characters.</p>}
          {fields.includes("password") && (
            <p className="auth-forgot">
              <Link href={withNext("/forgot-password")}>Forgot your password?</Link>
            </p>
          )}
          <p role="alert" className="form-error">
            {state.error}
          </p>
          <p role="status" className="form-notice">
            {state.notice}
          </p>
          <button className="button primary wide" disabled={pending}>
            {pending ? "One moment…" : submit}
          </button>
        </form>
        <p className="auth-other">
          {other.question} <Link href={withNext(other.href)}>{other.label}</Link>
        </p>
      </div>
      <p className="auth-tagline">Read the plan. Approve it. Watch its agent.</p>
    </main>
  );
}
