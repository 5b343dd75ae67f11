import { createContext } from "react";
import { askAgainTexts } from "@/components/greenlight/ask-again";
import { pagerTexts } from "@/components/greenlight/pager";
import { ERROR_MESSAGES, type ErrorCode } from "@/lib/greenlight/errors";
import { proposerTexts } from "@/lib/greenlight/plans";

/** Every word of the inbox. */
export const planInboxTexts = {
  ...proposerTexts,
  askAgain: askAgainTexts,
  errors: ERROR_MESSAGES as Record<ErrorCode, string>,
  tryAgain: "Try again",

  waiting: "Waiting for you",
  waitingPages: "Pages of what waits for you",
  teamWaiting: "In your teams",
  teamWaitingPages: "Pages of what waits for you in your teams",
  others: "Waiting for others",
  othersPages: "Pages of what waits for others",
  othersLead: "These plans are yours. An approver of their team decides on them.",
  nothing: "Nothing is waiting for you",
  nothingLead:
    "When a planner proposes a plan, it appears here. You can then approve it, request changes or reject it.",
  expired: "Expired",
  expiredPages: "Pages of what expired",
  teamExpired: "In your teams",
  teamExpiredPages: "Pages of what expired in your teams",
  decided: "Recent decisions",
  decidedPages: "Pages of decisions",
  teamDecided: "In your teams",
  teamDecidedPages: "Pages of decisions in your teams",
  noMore: "There are no more plans.",
  pager: pagerTexts,

  version: (version: number) => `Version ${version}`,
  session: (sessionId: string) => `Session ${sessionId}`,
  by: (name: string) => `by ${name}`,
  of: (owner: string) => `of ${owner}`,
  expires: "expires",
  hasExpired: "expired",
  commentOf: (name: string) => `Comment of ${name}:`,
  yourComment: "Your comment:",
  status: {
    proposed: "Waiting",
    changes_requested: "Sent back",
    rejected: "Rejected",
    withdrawn: "Withdrawn",
    approved: "Approved",
    superseded: "Replaced",
    archived: "Archived",
  },
};

export type PlanInboxTexts = typeof planInboxTexts;

export const PlanInboxContext = createContext(planInboxTexts);
