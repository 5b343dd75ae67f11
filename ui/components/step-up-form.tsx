"use client";

import Link from "next/link";
import { useActionState } from "react";
import { signIn, verifyFactor } from "@/actions/auth";
import { Button } from "@/components/ui/button";
import { Input } from "@/components/ui/input";
import { Label } from "@/components/ui/label";
import { AuthCard } from "./auth-card";

interface Props {
  /** Where the user comes from, and goes back to. */
  next: string;
  email: string;
  /** The user's second factor, if they have one. */
  factorId: string | undefined;
}

/** Verifies the second factor, which is a fresh sign-in, too; without one, the user signs in again. */
export function StepUpForm({ next, email, factorId }: Props) {
  const [state, submit, pending] = useActionState(factorId ? verifyFactor : signIn, {});
  return (
    <AuthCard
      title="Confirm that it is you"
      footer={
        <Link href={next} className="font-medium text-primary underline underline-offset-4">
          Back without confirming
        </Link>
      }
    >
      <p className="text-sm text-muted-foreground">
        This project asks for it before a decision. What you wrote is kept in this browser.
      </p>
      <form action={submit} className="grid gap-4">
        <input type="hidden" name="next" value={next} />
        {factorId ? (
          <div className="grid gap-2">
            <Label htmlFor="code">Code of your authenticator app</Label>
            <input type="hidden" name="factor" value={factorId} />
            <Input
              id="code"
              name="code"
              inputMode="numeric"
              autoComplete="one-time-code"
              pattern="[0-9]{6}"
              title="6 digits"
              maxLength={6}
              autoFocus
              required
            />
          </div>
        ) : (
          <div className="grid gap-2">
            <Label htmlFor="password" className="block leading-normal [overflow-wrap:anywhere]">
              Password of {email}
            </Label>
            <input type="hidden" name="email" value={email} autoComplete="username" />
            <Input
              id="password"
              name="password"
              type="password"
              autoComplete="current-password"
              autoFocus
              required
            />
            <p className="text-[13px] text-muted-foreground">
              If a decision leads here again, the project asks for a second factor, and this account has none:
              ask those who run the project.
            </p>
          </div>
        )}
        <p
          role="alert"
          className="rounded-md bg-destructive/10 px-3 py-2 text-sm text-destructive empty:hidden"
        >
          {state.error}
        </p>
        <Button size="lg" disabled={pending}>
          {pending ? "One moment…" : factorId ? "Confirm" : "Sign in again"}
        </Button>
      </form>
    </AuthCard>
  );
}
