import { documentProblem } from "@/lib/document";
import { failure, type ErrorCode } from "@/lib/errors";
import { publicEnv } from "@/lib/public-env";
import { approveThroughService } from "./approve-through-service";

export interface ApprovePlanInput {
  /** The planning session's id. */
  plan_id: string;
  title: string;
  content: string;
  version: number;
  /** SHA-256 of the document that the user saw, in hex: nothing else is approved. */
  content_sha256: string;
}

export interface ApprovePlanResult {
  success: boolean;
  message: string;
  document_url?: string;
  agent_id?: string;
  agent_status?: string;
  /** The plan's own id, not the session's. */
  plan_id?: string;
  version?: number;
  /** False where this very revision had been approved before. */
  created?: boolean;
}

export interface ActionResult {
  success: boolean;
  data?: ApprovePlanResult;
  /** A sentence for the user. */
  error?: string;
  code?: ErrorCode;
}

export type Step = "sending" | "uploading" | "creating";

/** Approves a plan, by the service or straight from the browser as NEXT_PUBLIC_APPROVE_VIA says. Never throws. */
export async function approvePlan(
  input: ApprovePlanInput,
  onStep: (step: Step) => void = () => undefined,
): Promise<ActionResult> {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(input.plan_id)) return failure("invalid_session_id");
  const problem = documentProblem(input.content);
  if (problem) return failure(problem);
  try {
    if (publicEnv().approveVia === "direct") {
      // Only then is supabase-js needed, and loaded.
      const { approveDirectly } = await import("./approve-directly");
      return await approveDirectly(input, onStep);
    }
    onStep("sending");
    return await approveThroughService(input);
  } catch {
    // The app's own server could not be reached.
    return failure("upstream_unavailable");
  }
}
