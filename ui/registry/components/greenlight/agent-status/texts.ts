import type { AgentStatus, BuildStatus } from "@/lib/greenlight/client";
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
  of: (owner: string) => `Agent of ${owner}.`,
  youOnlyRead: "You can read it. Its owner and the approvers of its team stop, retry and change it.",
  progress: "Build progress",
  queued: "Waiting for a builder",
  running: "Building",
  version: (version: number) => `Version ${version}`,
  attempt: (attempt: number, most: number) => `Attempt ${attempt} of ${most}`,
  /** A time follows, like “in 2 minutes”. */
  nextAttempt: (attempt: number, most: number) => `Attempt ${attempt} of ${most} failed, the next one starts`,
  noReason: "The builder gave no reason.",
  stop: "Stop",
  stopTitle: "Stop building?",
  stopQuestion: "What the builder makes from now on does not count. You can try again afterwards.",
  retry: "Try again",
  result: "Result",
  /** The host of the result's address. */
  open: (host: string) => `Open ${host}`,
  log: "Build log",
  logOf: "Log of",
  note: "Note with the approval",
  comments: (count: number) => (count === 1 ? "Comment on 1 passage" : `Comments on ${count} passages`),
  line: (line: number) => `Line ${line}`,
  otherPassage: "The stored plan does not have this passage",
  earlier: "Earlier builds",
  build: {
    queued: "Queued",
    running: "Running",
    succeeded: "Succeeded",
    failed: "Failed",
    cancelled: "Cancelled",
  } satisfies Record<BuildStatus, string>,
  error: errorMessage as (code: ErrorCode) => string,
};

export type AgentStatusTexts = typeof agentStatusTexts;
