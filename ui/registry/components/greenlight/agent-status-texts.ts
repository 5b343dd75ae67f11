import type { AgentStatus } from "@/lib/greenlight/client";
import { errorMessage, type ErrorCode } from "@/lib/greenlight/errors";

/** Every word of the agent's status. */
export const agentStatusTexts = {
  title: "Status",
  status: {
    building: "Building",
    active: "Active",
    paused: "Paused",
    failed: "Failed",
    archived: "Archived",
  } satisfies Record<AgentStatus, string>,
  meaning: {
    building: "Approved. This page updates by itself.",
    active: "",
    paused: "It does nothing until you resume it.",
    failed: "Try again, or revise the plan.",
    archived: "This is final. You can still read its plans and its history.",
  } satisfies Record<AgentStatus, string>,
  progress: "Build progress",
  queued: "Waiting for a builder",
  running: "Building",
  attempt: (attempt: number) => `Attempt ${attempt}`,
  /** A time follows, like “in 2 minutes”. */
  nextAttempt: (attempt: number) => `Attempt ${attempt} failed, the next one starts`,
  noReason: "The builder gave no reason.",
  retry: "Try again",
  error: errorMessage as (code: ErrorCode) => string,
};
