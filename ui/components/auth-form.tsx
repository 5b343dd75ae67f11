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
  other: { question: string; label: string; href: string };
  newPassword?: boolean;
}

/** Email and password, for signing in and for signing up. */
export function AuthForm({ action, title, submit, other, newPassword = false }: Props) {
  const params = useSearchParams();
  const next = params.get("next") ?? "";
  const first: AuthState =
    params.get("confirm") === "failed"
      ? { error: "This link is used up or too old. Sign in, or sign up again." }
      : {};
  const [state, submitForm, pending] = useActionState(action, first);
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
          <label>
            Password
            <input
              name="password"
              type="password"
              autoComplete={newPassword ? "new-password" : "current-password"}
              minLength={newPassword ? 8 : undefined}
              required
            />
          </label>
          {newPassword && <p className="hint">At least 8 characters.</p>}
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
          {other.question}{" "}
          <Link href={next ? `${other.href}?next=${encodeURIComponent(next)}` : other.href}>
            {other.label}
          </Link>
        </p>
      </div>
      <p className="auth-tagline">Read the plan. Approve it. Watch its agent.</p>
    </main>
  );
}
