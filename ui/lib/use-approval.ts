import { sha256 } from "greenlight-client";
import { useRouter } from "next/navigation";
import { useRef, useState } from "react";
import { toast } from "sonner";
import { approvePlan } from "@/actions/approve-plan";
import type { Approval, Step } from "./approval";
import type { Draft } from "./draft";
import { errorMessage, type ErrorCode } from "@/lib/greenlight/errors";

/** Approves a draft and opens its agent. `problem` is why the last attempt failed. */
export function useApproval(sessionId: string, onFailure: () => Promise<unknown>) {
  const router = useRouter();
  const [step, setStep] = useState<Step | "opening" | null>(null);
  const [problem, setProblem] = useState<ErrorCode | null>(null);
  const isRunning = useRef(false);

  async function approve(draft: Draft, hash: string | undefined): Promise<Approval | undefined> {
    // A ref and not the state: a double click comes before the next render.
    if (isRunning.current) return;
    isRunning.current = true;
    setProblem(null);
    setStep("sending");
    try {
      const { title, content, version } = draft;
      const content_sha256 = hash ?? (await sha256(content));
      const result = await approvePlan(
        { plan_id: sessionId, title, content, version, content_sha256 },
        setStep,
      );
      if (result.success) {
        toast.success(result.data.message);
        setStep("opening");
        router.push(`/build/${result.data.agent_id}`);
        return result.data;
      }
      toast.error(result.error);
      // What the page offers next may depend on what was approved meanwhile.
      await onFailure();
      setProblem(result.code);
    } catch {
      const code = "subtle" in crypto ? "unknown" : "insecure_context";
      toast.error(errorMessage(code));
      setProblem(code);
    }
    isRunning.current = false;
    setStep(null);
  }

  return { step, problem, setProblem, approve };
}
