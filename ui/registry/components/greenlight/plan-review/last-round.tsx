"use client";

import { use } from "react";
import { PlainText } from "@/components/greenlight/plain-text";
import { Quote } from "@/components/greenlight/quote";
import type { Plan } from "@/lib/greenlight/client";
import { decider, type People } from "@/lib/greenlight/people";
import { wasApproved } from "@/lib/greenlight/plans";
import { Status } from "@/components/greenlight/status";
import { PlanReviewContext, type PlanReviewTexts } from "./texts";
import { findPassage } from "./use-comments";

interface Props {
  plan: Plan;
  /** The version that the user decided on before. */
  before: Plan | null | undefined;
  /** The document that is shown now. */
  content: string | null | undefined;
  people: People;
}

/** What the planner says with a version, what the user said of the one before, and whether those passages have changed. */
export function LastRound({ plan, before, content, people }: Props) {
  const texts = use(PlanReviewContext);
  const words = texts.lastRound;
  const comments = before?.comments ?? [];
  const other = before ? decider(before, people) : null;
  if (plan.message === null && !before?.comment && comments.length === 0) return null;
  return (
    <section
      aria-label={words.title}
      className="mb-5 grid gap-3 rounded-lg border bg-card px-4.5 pt-2 pb-3.5 text-[15px]"
    >
      {plan.message !== null && <Quote label={words.planner}>{plan.message}</Quote>}
      {before?.comment && <Quote label={labelOf(before, other, texts)}>{before.comment}</Quote>}
      {before && comments.length > 0 && (
        <details open={comments.length <= 5} className="mt-1">
          <summary className="cursor-pointer text-[13px] text-muted-foreground">
            {other === null
              ? words.comments(comments.length, before.version)
              : words.commentsOf(other, comments.length, before.version)}
          </summary>
          <ol className="mt-2 grid gap-3">
            {comments.map((comment, index) => {
              const isThere = typeof content === "string" && findPassage(content, comment) !== null;
              return (
                <li key={index} className="border-s-3 border-warning/50 ps-3 [overflow-wrap:anywhere]">
                  <div className="flex flex-wrap items-start justify-between gap-x-3 gap-y-1">
                    <p className="min-w-0 grow basis-60 whitespace-pre-wrap">
                      <PlainText>{comment.body}</PlainText>
                    </p>
                    {typeof content === "string" && (
                      <Status status={isThere ? "unchanged" : "approved"}>
                        {isThere ? words.unchanged : words.changed}
                      </Status>
                    )}
                  </div>
                  <p className="mt-1 text-[13px] whitespace-pre-wrap text-muted-foreground">
                    {words.passage} <PlainText>{comment.exact}</PlainText>
                  </p>
                </li>
              );
            })}
          </ol>
        </details>
      )}
    </section>
  );
}

function labelOf(before: Plan, other: string | null, texts: PlanReviewTexts) {
  const { version } = before;
  if (wasApproved(before))
    return other === null ? texts.youApproved(version) : texts.approvedBy(other, version);
  if (before.status === "rejected")
    return other === null ? texts.youRejected(version) : texts.rejectedBy(other, version);
  return other === null ? texts.youAskedFor : texts.askedForBy(other);
}
