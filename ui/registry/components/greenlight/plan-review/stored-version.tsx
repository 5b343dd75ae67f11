"use client";

import { Check, LoaderCircle, MessageSquareReply, X } from "lucide-react";
import { use } from "react";
import { AskAgain } from "@/components/greenlight/ask-again";
import { Callout } from "@/components/greenlight/callout";
import { Confirm } from "@/components/greenlight/confirm";
import { AppLink } from "@/components/greenlight/link";
import { Quote } from "@/components/greenlight/quote";
import { Time } from "@/components/greenlight/time";
import { Button } from "@/components/ui/button";
import type { Plan } from "@/lib/greenlight/client";
import { decider, nameOf, type People } from "@/lib/greenlight/people";
import { proposer, wasApproved } from "@/lib/greenlight/plans";
import { HrefsContext } from "./hrefs";
import { LastRound } from "./last-round";
import { Fact } from "./plan-page";
import { Problem } from "./problem";
import type { Session } from "./session";
import { PlanReviewContext } from "./texts";
import type { StoredVersion } from "./use-stored-version";

interface Props {
  stored: StoredVersion;
  session: Session;
}

export function StoredFacts({ stored: { plan }, session: { people } }: Props) {
  const texts = use(PlanReviewContext);
  const isTeams = plan.team_id !== null;
  return (
    <>
      {plan.user_id !== people.id && <Fact>{texts.planOf(nameOf(plan.user_id, people, texts.you))}</Fact>}
      <StatusFact plan={plan} people={people} />
      {isTeams && plan.status !== "withdrawn" && plan.decided_at && (
        <Fact>
          {texts.decidedBy(decider(plan, people) ?? texts.you)} <Time at={plan.decided_at} />
        </Fact>
      )}
    </>
  );
}

function StatusFact({ plan, people }: { plan: Plan; people: People }) {
  const texts = use(PlanReviewContext);
  switch (plan.status) {
    case "approved":
      return (
        <Fact isGood>
          <Check aria-hidden /> {texts.approved}
        </Fact>
      );
    case "changes_requested":
      return <Fact>{texts.sentBack}</Fact>;
    case "superseded":
      return <Fact>{texts.replaced}</Fact>;
    case "rejected":
    case "withdrawn":
    case "archived":
      return <Fact>{texts[plan.status]}</Fact>;
    case "proposed":
      return (
        <Fact>
          {texts.proposed(proposer(plan, people, texts))} <Time at={plan.created_at} />
          {plan.expires_at && (
            <>
              , {texts.expires} <Time at={plan.expires_at} />
            </>
          )}
        </Fact>
      );
  }
}

export function StoredActions({ stored, session, isShown }: Props & { isShown: boolean }) {
  const texts = use(PlanReviewContext);
  const hrefs = use(HrefsContext);
  const { plan, running, decide, comments } = stored;
  const { count } = comments;
  if (!stored.isOpen)
    return (
      session.agent &&
      stored.isCurrent &&
      hrefs.agent && (
        <Button asChild>
          <AppLink href={hrefs.agent(session.agent.id)}>{texts.openAgent}</AppLink>
        </Button>
      )
    );
  if (!stored.mayDecide) return null;
  return (
    <>
      <Confirm
        title={texts.rejectTitle(plan.version)}
        question={texts.rejectQuestion + texts.goAlong(count)}
        confirm={texts.reject}
        comment="optional"
        text={stored.kept}
        danger
        disabled={running !== null}
        onConfirm={(comment) => void decide("reject", { comment, withComments: true })}
      >
        <X aria-hidden /> {texts.reject}
      </Confirm>
      {stored.document.data?.verified && (
        <Confirm
          title={texts.requestTitle(plan.version)}
          question={texts.requestQuestion + texts.goAlong(count)}
          confirm={texts.requestWith(count)}
          comment={count === 0 ? "required" : "optional"}
          text={stored.kept}
          disabled={running !== null || comments.isTooMuch}
          onConfirm={(comment) => void decide("request_changes", { comment, withComments: true })}
        >
          <MessageSquareReply aria-hidden /> {texts.requestWith(count)}
        </Confirm>
      )}
      {stored.isReadable &&
        !stored.isExpired &&
        (count === 0 ? (
          <Button disabled={running !== null || !isShown} onClick={() => void decide("approve")}>
            {running === "approve" && <LoaderCircle className="animate-spin" aria-hidden />}
            {running === "approve" ? texts.approving : texts.approve}
          </Button>
        ) : (
          <Confirm
            title={texts.approveTitle(plan.version)}
            question={texts.approveQuestion(count)}
            confirm={texts.approveWith}
            comment="optional"
            text={stored.kept}
            variant="default"
            disabled={running !== null || !isShown || comments.isTooMuch}
            onConfirm={(comment) => void decide("approve", { comment, withComments: true })}
            others={[
              {
                label: texts.requestInstead,
                onConfirm: (comment) => void decide("request_changes", { comment, withComments: true }),
              },
              { label: texts.approveWithout, onConfirm: (comment) => void decide("approve", { comment }) },
            ]}
          >
            {running === "approve" && <LoaderCircle className="animate-spin" aria-hidden />}
            {running === "approve" ? texts.approving : texts.approve}
          </Confirm>
        ))}
    </>
  );
}

interface NoticesProps extends Props {
  /** This browser has edits of the session that were not sent. */
  hasDraft: boolean;
  onShow: (view: string) => void;
  onAsked: () => Promise<unknown>;
}

export function StoredNotices({ stored, session, hasDraft, onShow, onAsked }: NoticesProps) {
  const texts = use(PlanReviewContext);
  const { plan, isOpen, problem, document } = stored;
  const { data, error, retry } = document;
  const { list } = stored.comments;
  const carried = list.filter(({ from }) => from !== undefined);
  const lost = list.filter(({ place }) => !place).length;
  return (
    <>
      {hasDraft && (
        <Callout tone="info" text={texts.edits}>
          <Button
            variant="outline"
            onClick={() => {
              onShow("draft");
            }}
          >
            {texts.showEdits}
          </Button>
        </Callout>
      )}
      {data && !data.verified && (
        <Callout tone="danger" text={isOpen ? texts.notProposed : texts.notDecided} />
      )}
      {data?.verified && data.content === null && <Callout tone="danger" text={texts.notText} />}
      {error && (
        <Callout tone="danger" text={error === "document_not_found" ? texts.missing : texts.errors[error]}>
          <Button variant="outline" onClick={retry}>
            {texts.tryAgain}
          </Button>
        </Callout>
      )}
      {isOpen && !stored.mayDecide && (
        <Callout
          tone="info"
          text={plan.user_id === session.people.id ? texts.othersDecide : texts.youOnlyRead}
        />
      )}
      {isOpen && stored.isExpired && (
        <Callout
          tone="warning"
          text={
            <p>
              {texts.expired}
              {stored.expiredAt && (
                <>
                  {" "}
                  <Time at={stored.expiredAt} />
                </>
              )}
              {stored.mayDecide ? texts.expiredEnd : texts.expiredForOthers}
            </p>
          }
        >
          {stored.mayDecide && (
            <AskAgain plan={plan} texts={texts.askAgain} errors={texts.errors} onAsked={onAsked} />
          )}
        </Callout>
      )}
      {!isOpen && !stored.isCurrent && <Outcome stored={stored} session={session} onShow={onShow} />}
      {stored.isCurrent && plan.comment && (
        <div className="mb-5 rounded-lg border bg-card px-4.5 pt-2 pb-3.5">
          <Quote label={texts.yourComment}>{plan.comment}</Quote>
        </div>
      )}
      {problem && (
        <Problem
          code={problem}
          agentId={session.agent?.id}
          onRetry={() => void stored.retry()}
          onRestore={() => void stored.restore()}
        />
      )}
      {isOpen && data && carried.length > 0 && (
        <Callout tone="info" text={texts.cameAlong(carried.length - lost, lost)} />
      )}
      <LastRound
        plan={plan}
        before={isOpen ? stored.base.data : undefined}
        content={data?.content}
        people={session.people}
      />
    </>
  );
}

/** What happened to a version that is no longer proposed, and where the user can go next. */
function Outcome({ stored, session, onShow }: Props & { onShow: (planId: string) => void }) {
  const texts = use(PlanReviewContext);
  const hrefs = use(HrefsContext);
  const { plan, isGone } = stored;
  const unsent = stored.comments.list.length;
  const { agent, proposal: next } = session;
  const isOthers = plan.user_id !== session.people.id;
  const other = decider(plan, session.people);
  const status = wasApproved(plan) ? "approved" : plan.status;
  const outcome = isGone
    ? isOthers
      ? texts.goneOrLeft(plan.version)
      : texts.deleted(plan.version)
    : other !== null && (status === "changes_requested" || status === "rejected")
      ? texts.outcomeBy[status](plan.version, other)
      : texts.outcome[status](plan.version);
  return (
    <Callout
      tone="info"
      text={
        <>
          <p>{outcome}</p>
          {!isGone && plan.comment && (
            <Quote label={other === null ? texts.yourComment : texts.commentOf(other)}>{plan.comment}</Quote>
          )}
          {unsent > 0 && <p>{texts.kept(unsent)}</p>}
        </>
      }
    >
      {next && next.id !== plan.id ? (
        <Button
          onClick={() => {
            onShow(next.id);
          }}
        >
          {texts.show(next.version)}
        </Button>
      ) : agent && hrefs.agent ? (
        <Button variant="outline" asChild>
          <AppLink href={hrefs.agent(agent.id)}>{texts.openAgent}</AppLink>
        </Button>
      ) : (
        hrefs.plans && (
          <Button variant="outline" asChild>
            <AppLink href={hrefs.plans}>{texts.plans}</AppLink>
          </Button>
        )
      )}
    </Callout>
  );
}
