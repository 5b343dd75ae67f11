"use server";

import { z } from "zod";
import { env } from "@/lib/env";
import { failure, isErrorCode } from "@/lib/errors";
import { createClient } from "@/lib/supabase/server";
import type { ActionResult, ApprovePlanInput } from "./approve-plan";

// Types and shapes only: what the values may be is for the service and the database to say.
const Input = z.strictObject({
  plan_id: z.string().max(200),
  title: z.string().max(10_000),
  content: z.string().max(1024 * 1024),
  version: z.int(),
  content_sha256: z.string().max(100),
});

const Approval = z.object({
  success: z.literal(true),
  message: z.string(),
  document_url: z.string(),
  agent_id: z.uuid(),
  agent_status: z.string(),
  plan_id: z.uuid(),
  version: z.int(),
  created: z.boolean(),
});

const Problem = z.object({ code: z.string() });

// Longer than the service gives its own upstreams, so that its answer, not our impatience, is what is told.
const TIMEOUT_MS = 60_000;

/** Approves as the signed-in user, by POST /plan/approve. Who that is, only the session says. */
export async function approveThroughService(input: ApprovePlanInput): Promise<ActionResult> {
  const parsed = Input.safeParse(input);
  if (!parsed.success) return failure("invalid_request");

  const { auth } = await createClient();
  // getClaims verifies the token; getSession only reads it.
  const { data: claims } = await auth.getClaims();
  const token = claims && (await auth.getSession()).data.session?.access_token;
  if (!token) return failure("not_authenticated");

  // There is none where plans are approved directly, and then nobody but a stranger to this app calls here.
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
