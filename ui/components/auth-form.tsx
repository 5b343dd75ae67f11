"use client";

import Link from "next/link";
import { useSearchParams } from "next/navigation";
import { useActionState } from "react";
import type { AuthState } from "@/actions/auth";
import { Button } from "@/components/ui/button";
import { Input } from "@/components/ui/input";
import { Label } from "@/components/ui/label";
import { AuthCard } from "./auth-card";

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
    <AuthCard
      title={title}
      footer={
        <>
          {other.question}{" "}
          <Link href={withNext(other.href)} className="font-medium text-primary underline underline-offset-4">
            {other.label}
          </Link>
        </>
      }
    >
      <form action={submitForm} className="grid gap-4">
        <input type="hidden" name="next" value={next} />
        {fields.includes("email") && (
          <div className="grid gap-2">
            <Label htmlFor="email">Email</Label>
            <Input
              id="email"
              name="email"
              type="email"
              autoComplete="email"
              required
              defaultValue={state.email}
              key={state.email}
            />
          </div>
        )}
        {(fields.includes("password") || newPassword) && (
          <div className="grid gap-2">
            <Label htmlFor="password">{fields.length === 1 ? "New password" : "Password"}</Label>
            <Input
              id="password"
              name="password"
              type="password"
              autoComplete={newPassword ? "new-password" : "current-password"}
              minLength={newPassword ? 8 : undefined}
              aria-describedby={newPassword ? "password-rule" : undefined}
              required
            />
            {newPassword && (
              <p id="password-rule" className="text-[13px] text-muted-foreground">
                At least 8 characters.
              </p>
            )}
            {fields.includes("password") && (
              <Link
                href={withNext("/forgot-password")}
                className="justify-self-start text-[13px] text-muted-foreground underline underline-offset-4"
              >
                Forgot your password?
              </Link>
            )}
          </div>
        )}
        <p
          role="alert"
          className="rounded-md bg-destructive/10 px-3 py-2 text-sm text-destructive empty:hidden"
        >
          {state.error}
        </p>
        <p role="status" className="rounded-md bg-success/10 px-3 py-2 text-sm text-success empty:hidden">
          {state.notice}
        </p>
        <Button size="lg" disabled={pending}>
          {pending ? "One moment…" : submit}
        </Button>
      </form>
    </AuthCard>
  );
}
