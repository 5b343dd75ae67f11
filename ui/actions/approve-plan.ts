import type { Step } from "@/components/greenlight/plan-review/use-own-version";
import type { Approval, ApprovalInput } from "@/lib/approval";
import { approvePlan as approve, documentProblem, SESSION_ID } from "@/lib/greenlight/client";
import { errorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { publicEnv } from "@/lib/public-env";
import { failure, type Result } from "@/lib/result";
import { approveThroughService } from "./approve-through-service";

/**
 * Approves a plan, through the service or straight from the browser as NEXT_PUBLIC_APPROVE_VIA says; `agent_id` of the
 * answer is where the page goes next. Never throws.
 */
export async function approvePlan(
  input: ApprovalInput,
  onStep: (step: Step) => void = () => undefined,
): Promise<Result<Approval>> {
  if (!SESSION_ID.test(input.plan_id)) return failure("invalid_session_id");
  const problem = documentProblem(input.content);
  if (problem) return failure(errorCode(problem));
  if (publicEnv().approveVia === "direct") return approveDirectly(input, onStep);
  try {
    onStep("sending");
    return await approveThroughService(input);
  } catch {
    // The app's own server could not be reached.
    return failure("upstream_unavailable");
  }
}

async function approveDirectly(
  { plan_id: sessionId, content_sha256: sha256, ...plan }: ApprovalInput,
  onStep: (step: Step) => void,
): Promise<Result<Approval>> {
  try {
    return { success: true, data: await approve(await loadClient(), { ...plan, sessionId, sha256, onStep }) };
  } catch (error) {
    return failure(errorCode(error));
  }
}
