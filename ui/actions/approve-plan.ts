import { approvePlan as approve, documentProblem, SESSION_ID } from "greenlight-client";
import type { Approval, ApprovalInput, Step } from "@/lib/approval";
import { errorCode, failure, type Result } from "@/lib/greenlight/errors";
import { publicEnv } from "@/lib/public-env";
import { loadClient } from "@/lib/greenlight/load-client";
import { approveThroughService } from "./approve-through-service";

/** The answer to an approval; `agent_id` is where the page goes next. */
export type ApprovePlanResult = Approval;

/** Approves a plan, through the service or straight from the browser as NEXT_PUBLIC_APPROVE_VIA says. Never throws. */
export async function approvePlan(
  input: ApprovalInput,
  onStep: (step: Step) => void = () => undefined,
): Promise<Result<ApprovePlanResult>> {
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
): Promise<Result<ApprovePlanResult>> {
  try {
    const approval = await approve(await loadClient(), { ...plan, sessionId, sha256, onStep });
    const message = "Plan approved and agent created successfully";
    return { success: true, data: { success: true, message, ...approval } };
  } catch (error) {
    return failure(errorCode(error));
  }
}
