"use server";

import { z } from "zod";
import { Approval, ApprovalInput } from "@/lib/approval";
import { env } from "@/lib/env";
import { isErrorCode } from "@/lib/greenlight/errors";
import { failure, type Result } from "@/lib/result";
import { createClient } from "@/lib/supabase/server";

const Problem = z.object({ code: z.string() });

// Longer than the service waits for Supabase, so that the user sees the service's answer.
const TIMEOUT_MS = 60_000;

/** Approves as the signed-in user, by POST /plan/approve. The user comes from the session, never from an argument. */
export async function approveThroughService(input: ApprovalInput): Promise<Result<Approval>> {
  const parsed = ApprovalInput.safeParse(input);
  if (!parsed.success) return failure("invalid_request");

  const { auth } = await createClient();
  // getClaims verifies the token; getSession only reads it.
  const { data: claims } = await auth.getClaims();
  const token = claims && (await auth.getSession()).data.session?.access_token;
  if (!token) return failure("not_authenticated");

  // SERVICE_URL is unset in direct mode; only crafted requests reach this.
  if (!env.SERVICE_URL) return failure("upstream_unavailable");

  try {
    const response = await fetch(`${env.SERVICE_URL.replace(/\/+$/, "")}/plan/approve`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(parsed.data),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body: unknown = await response.json().catch(() => null);
    if (response.ok) {
      const approval = Approval.safeParse(body);
      return approval.success ? { success: true, data: approval.data } : failure("upstream_error");
    }
    const code = Problem.safeParse(body).data?.code;
    if (isErrorCode(code)) return failure(code);
    return failure(response.status === 503 ? "upstream_unavailable" : "upstream_error");
  } catch (error) {
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    return failure(timedOut ? "upstream_timeout" : "upstream_unavailable");
  }
}
