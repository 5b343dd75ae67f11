import { createContext } from "react";
import { askAgainTexts } from "@/components/greenlight/ask-again";
import { documentTexts } from "@/components/greenlight/document/texts";
import { ERROR_MESSAGES } from "@/lib/greenlight/errors";
import { proposerTexts } from "@/lib/greenlight/plans";

/** Every word of the review. */
export const planReviewTexts = {
  document: documentTexts,
  askAgain: askAgainTexts,
  errors: ERROR_MESSAGES as Record<keyof typeof ERROR_MESSAGES, string>,

  plan: "Plan",
  untitled: "Untitled plan",
  version: (version: number) => `Version ${version}`,
  tabs: "The plan",
  read: "Read",
  edit: "Edit",
  source: "Source",
  title: "Title",
  text: "Document",
  details: "Details",
  size: "Size",
  bytes: (count: number) => `${count.toLocaleString("en")} bytes`,
  lineEndings: "Line endings",
  byteOrderMark: ", byte order mark",
  fingerprint: "Fingerprint",
  session: "Planning session",
  proposedBy: "Proposed by",
  client: (id: string) => `connected app ${id}`,

  ...proposerTexts,
  proposed: (by: string) => `Proposed by ${by},`,
  planOf: (owner: string) => `Plan of ${owner}`,
  decidedBy: (name: string) => `by ${name},`,
  decided: "Decided by",
  expires: "expires",
  approved: "Approved",
  sentBack: "Sent back",
  rejected: "Rejected",
  withdrawn: "Withdrawn",
  replaced: "Replaced",
  archived: "Archived",
  isApproved: (version: number) => `Version ${version} is approved`,
  notApproved: "Not approved yet",

  approve: "Approve plan",
  approving: "Creating the agent…",
  steps: {
    sending: "Uploading and creating the agent…",
    uploading: "Uploading the document…",
    creating: "Creating the agent…",
    opening: "Opening the agent…",
  },
  openAgent: "Open the agent",
  plans: "Go to your plans",
  reject: "Reject",
  rejectTitle: (version: number) => `Reject version ${version}?`,
  rejectQuestion: "The planner sees your comment. A rejection is final for this version.",
  requestChanges: "Request changes",
  requestWith: (count: number) => (count === 0 ? "Request changes" : `Request changes (${count})`),
  goAlong: (count: number) =>
    count === 0
      ? ""
      : count === 1
        ? " Your comment on a passage goes along."
        : ` Your ${count} comments on passages go along.`,
  approveTitle: (version: number) => `Approve version ${version} with your comments?`,
  approveQuestion: (count: number) =>
    count === 1
      ? "Your comment on a passage was not sent. What shall become of it?"
      : `Your ${count} comments on passages were not sent. What shall become of them?`,
  approveWith: "Approve, with notes for the builder",
  approveWithout: "Approve, and keep them here",
  requestInstead: "Request changes instead",
  requestTitle: (version: number) => `Ask for changes to version ${version}?`,
  requestQuestion: "The planner sees your comment and proposes a new version. This version is not approved.",

  edits: "You have edits of this plan that you have not approved.",
  showEdits: "Go to my edits",
  discardEdits: "Discard my edits",
  ownText: (version: number) =>
    `This is your own text. Version ${version} is proposed and waits for your decision.`,
  proposedMeanwhile: (version: number) => `Version ${version} was proposed while you were editing.`,
  show: (version: number) => `Show version ${version}`,

  notProposed: "The stored document is not the one that was proposed, so it cannot be approved. Reject it.",
  notDecided: "The stored document is not the one that you decided on.",
  notText: "The document is not UTF-8 text, so it cannot be shown or approved.",
  missing: "The document is not in storage any more, so it cannot be approved.",
  tryAgain: "Try again",
  expired: "This proposal expired",
  expiredEnd:
    ", so it cannot be approved any more. Ask the planner for a new version, or edit it and approve your own.",
  expiredForOthers: ", so it cannot be approved any more.",
  othersDecide:
    "This plan is yours, and an approver of its team decides on it, not you. This page shows what they decide.",
  youOnlyRead: "You can read this plan. The approvers of its team decide on it, and you are not one of them.",
  baseUnknown: (error: string) =>
    `It could not be found out what has changed since your last decision, so nothing is marked. Read all of it. ${error}`,
  baseNotLoaded: (version: number, error: string) =>
    `The changes since version ${version} cannot be marked: ${error}`,
  baseReplaced: "its stored document is not the one that was decided on.",

  deleted: (version: number) => `Version ${version} does not exist any more: it was deleted.`,
  outcome: {
    proposed: (version: number) => `Version ${version} is proposed.`,
    approved: (version: number) => `Version ${version} was approved.`,
    archived: (version: number) => `Version ${version} was approved.`,
    changes_requested: (version: number) =>
      `You asked for changes to version ${version}. A new version appears here when the planner proposes it.`,
    rejected: (version: number) => `You rejected version ${version}.`,
    withdrawn: (version: number) => `Version ${version} was withdrawn by the planner.`,
    superseded: (version: number) => `Version ${version} was replaced by a newer version.`,
  },
  outcomeBy: {
    changes_requested: (version: number, name: string) =>
      `${name} asked for changes to version ${version}. A new version appears here when the planner proposes it.`,
    rejected: (version: number, name: string) => `${name} rejected version ${version}.`,
  },
  goneOrLeft: (version: number) =>
    `You cannot read version ${version} any more: it was deleted, or you are not in its team now.`,
  yourComment: "Your comment:",
  commentOf: (name: string) => `Comment of ${name}:`,
  askedForBy: (name: string) => `${name} asked for:`,
  rejectedBy: (name: string, version: number) => `${name} rejected version ${version}:`,
  approvedBy: (name: string, version: number) => `${name} approved version ${version} with this note:`,
  youAskedFor: "You asked for:",
  youRejected: (version: number) => `You rejected version ${version}:`,
  youApproved: (version: number) => `You approved version ${version} with this note:`,
  kept: (count: number) =>
    count === 1
      ? "One comment of yours was not sent. It is kept in this browser, and comes along when you open the next version."
      : `${count} comments of yours were not sent. They are kept in this browser, and come along when you open the next version.`,
  cameAlong: (here: number, lost: number) =>
    `Comments that you did not send came along from an earlier version: ${here} on passages that still stand here${
      lost === 0 ? "" : `, and ${lost} whose passages do not. Those are in the list below the document`
    }.`,

  comments: {
    hint: "Select what you want to comment on. With the keyboard: choose a block with the arrow keys, and press Enter.",
    comment: "Comment",
    on: (passage: string) => `Comment on “${passage}”`,
    edit: (passage: string) => `Edit the comment on “${passage}”`,
    remove: (passage: string) => `Remove the comment on “${passage}”`,
    show: (passage: string) => `Show “${passage}” in the document`,
    showShort: "Show",
    removeShort: "Remove",
    done: "Done",
    from: (version: number) => `From version ${version}`,
    list: (count: number) => (count === 1 ? "1 comment" : `${count} comments`),
    lost: "This passage does not stand in this version, so the comment cannot be sent.",
    unsent: "This comment was not sent.",
    tooMuch: "A decision takes at most 200 comments of 65,536 bytes in all. Shorten or remove some.",
  },
  lastRound: {
    title: "The last round",
    planner: "The planner says:",
    comments: (count: number, version: number) =>
      count === 1 ? `Your comment on version ${version}` : `Your ${count} comments on version ${version}`,
    commentsOf: (name: string, count: number, version: number) =>
      count === 1
        ? `The comment of ${name} on version ${version}`
        : `The ${count} comments of ${name} on version ${version}`,
    passage: "On:",
    changed: "Changed since",
    unchanged: "Not changed",
  },

  approveAs: (version: number) => `Approve as version ${version}`,
  seeApproved: "See what was approved",
  restore: "Restore the agent and approve",
  newPlan: "Start a new plan from this text",
  signIn: "Sign in",
  stepUp: "Confirm that it is you",
  editPlan: "Edit the plan",
  nothing: "There is no plan in this planning session.",
};

export type PlanReviewTexts = typeof planReviewTexts;

export const PlanReviewContext = createContext(planReviewTexts);
