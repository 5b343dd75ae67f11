"use client";

import { use, useEffect, useMemo, useState } from "react";
import { Callout } from "@/components/greenlight/callout";
import { DocumentTextsContext } from "@/components/greenlight/document/texts";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { useInBrowser } from "@/hooks/use-in-browser";
import { useLoaded } from "@/hooks/use-loaded";
import { useWatch } from "@/hooks/use-watch";
import { GreenlightError, sessionMarks, type Approval } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";
import { nameOf } from "@/lib/greenlight/people";
import { proposer } from "@/lib/greenlight/plans";
import { visibleText } from "@/lib/greenlight/visible";
import { editDraft, newSessionId, openDraft, useDraft } from "./plan-review/draft";
import { HrefsContext, type Hrefs } from "./plan-review/hrefs";
import { OwnActions, OwnFacts, OwnNotices } from "./plan-review/own-version";
import { PlanPage } from "./plan-review/plan-page";
import { findPlan, firstView, loadSession, type Session } from "./plan-review/session";
import { StoredActions, StoredFacts, StoredNotices } from "./plan-review/stored-version";
import { planReviewTexts, PlanReviewContext, type PlanReviewTexts } from "./plan-review/texts";
import { approveDirectly, useOwnVersion, type ApproveOwn } from "./plan-review/use-own-version";
import { useStoredVersion } from "./plan-review/use-stored-version";

export { planReviewTexts };

interface Props {
  /** The planning session to review. */
  sessionId: string;
  /** Whose session it is, if it may be another user's: an approver of their team reviews it. */
  owner?: string | undefined;
  /** Called with the answer to an approval: go on to the agent. */
  onApproved?: ((approval: Approval) => void) | undefined;
  /** Called after every decision, an approval included. */
  onDecided?: (() => void) | undefined;
  /** Called when the user starts a new plan from a text whose agent is archived: open its review. */
  onNewSession?: ((sessionId: string) => void) | undefined;
  /** Called with the title that is shown, as it can be seen. */
  onTitle?: ((title: string) => void) | undefined;
  /** Where links lead. Those without an address are not shown. */
  hrefs?: Hrefs | undefined;
  /** How a text of the user's own is approved; without it, straight from the browser. */
  approveOwn?: ApproveOwn | undefined;
  /** What is shown if the session has no plan. */
  empty?: React.ReactNode;
  /** The session and its user, if the server has loaded them already. */
  initial?: { session: Session; userId: string } | undefined;
  texts?: Partial<PlanReviewTexts> | undefined;
}

/** A planning session under review: the document, its changes, an editor, and the three decisions. */
export function PlanReview(props: Props) {
  const { sessionId, owner, initial } = props;
  const texts = useMemo(() => ({ ...planReviewTexts, ...props.texts }), [props.texts]);
  // Drafts are in the browser's storage, so the server cannot tell what is shown.
  const isInBrowser = useInBrowser();
  const loaded = useLoaded(
    `${owner ?? ""} ${sessionId}`,
    initial ? undefined : () => loadStart(sessionId, owner),
  );
  const start = initial ?? loaded.data;
  return (
    <PlanReviewContext value={texts}>
      <DocumentTextsContext value={texts.document}>
        <HrefsContext value={props.hrefs ?? {}}>
          {loaded.error ? (
            <Callout tone="danger" text={texts.errors[loaded.error]}>
              <Button variant="outline" onClick={loaded.retry}>
                {texts.tryAgain}
              </Button>
            </Callout>
          ) : start && isInBrowser ? (
            <Review key={`${owner ?? ""} ${sessionId}`} {...props} {...start} />
          ) : (
            <div aria-busy="true">
              <h1 className="sr-only">{texts.plan}</h1>
              <Skeleton className="h-96" />
            </div>
          )}
        </HrefsContext>
      </DocumentTextsContext>
    </PlanReviewContext>
  );
}

async function loadStart(sessionId: string, owner: string | undefined) {
  const client = await loadClient();
  const [session, { data }] = await Promise.all([
    loadSession(client, sessionId, undefined, owner),
    client.auth.getClaims(),
  ]);
  if (!data) throw new GreenlightError("not_authenticated");
  return { session, userId: data.claims.sub };
}

/** Shows a stored plan or this browser's draft. Which one changes only when the user asks for it. */
function Review({
  sessionId,
  owner,
  session: initial,
  userId,
  empty,
  approveOwn = approveDirectly,
  onApproved = () => undefined,
  onDecided = () => undefined,
  onNewSession,
  onTitle,
}: Props & { session: Session; userId: string }) {
  const texts = use(PlanReviewContext);
  const isOwn = owner === undefined || owner === userId;
  const { draft: kept, save, discard } = useDraft(userId, sessionId);
  // A draft is of a session of the user's own.
  const draft = isOwn ? kept : undefined;
  const [freshId] = useState(newSessionId);
  const fresh = useDraft(userId, freshId);
  const [chosen, setView] = useState(() => firstView(initial, draft));
  const { value: session, reload } = useWatch(
    initial,
    async (known) => loadSession(await loadClient(), sessionId, findPlan(known, chosen), owner),
    () => ({ session: { sessionId, userId: owner } }),
    sessionMarks,
  );
  const view = chosen === null || (chosen === "draft" && !draft) ? firstView(session, draft) : chosen;
  const [tab, setTab] = useState("read");

  function show(view: string) {
    setTab("read");
    setView(view);
  }

  const shared = { userId, sessionId, session, onApproved, onDecided, reload };
  const stored = useStoredVersion({
    ...shared,
    planId: view === null || view === "draft" ? undefined : view,
  });
  const own = useOwnVersion({
    ...shared,
    draft: view === "draft" ? draft : undefined,
    approveOwn,
    onSave: save,
  });
  const title = own?.draft.title ?? stored?.plan.title;
  useEffect(() => {
    if (title !== undefined) onTitle?.(visibleText(title));
  }, [title, onTitle]);

  // One page for both, so that the editor keeps its focus when the first key press makes a draft of a stored plan.
  const page = { tab, onTab: setTab };
  if (own)
    return (
      <PlanPage
        {...page}
        title={own.draft.title}
        version={own.draft.version}
        content={own.draft.content}
        hash={own.hash}
        base={own.base}
        baseError={undefined}
        onEdit={
          own.step === null
            ? (change) => {
                own.clearProblem();
                save(editDraft(own.draft, change, own.newest));
              }
            : undefined
        }
        facts={<OwnFacts own={own} session={session} />}
        actions={(isShown) => <OwnActions own={own} session={session} isShown={isShown} />}
        notices={
          <OwnNotices
            own={own}
            session={session}
            onShow={show}
            onDiscard={() => {
              discard();
              show((session.proposal ?? session.approved)?.id ?? "draft");
            }}
            onNewPlan={
              onNewSession &&
              (() => {
                fresh.save(openDraft(own.draft.title, own.draft.content));
                onNewSession(freshId);
              })
            }
            onEdit={() => {
              setTab("edit");
            }}
          />
        }
        details={null}
        remarks={undefined}
      />
    );
  if (!stored) return empty ?? <p className="text-muted-foreground">{texts.nothing}</p>;
  const { plan, document, base } = stored;
  const isClient = ![null, "user", "service_role"].includes(plan.proposed_by);
  return (
    <PlanPage
      {...page}
      title={plan.title}
      version={plan.version}
      content={document.data?.content ?? undefined}
      hash={document.data?.sha256}
      base={stored.isOpen ? (base.data === undefined ? null : (base.data ?? undefined)) : undefined}
      baseError={base.error}
      onEdit={
        stored.running === null && stored.isReadable && isOwn && stored.mayDecide
          ? (change) => {
              const opened = openDraft(plan.title, document.data?.content ?? "", plan.version);
              save(editDraft(opened, change, session.plans[0]?.version ?? plan.version));
              setView("draft");
            }
          : undefined
      }
      facts={<StoredFacts stored={stored} session={session} />}
      actions={(isShown) => <StoredActions stored={stored} session={session} isShown={isShown} />}
      notices={
        <StoredNotices
          stored={stored}
          session={session}
          hasDraft={draft !== undefined && !draft.settled}
          onShow={show}
          onAsked={async () => {
            await reload();
            onDecided();
          }}
        />
      }
      details={
        <>
          {(isClient || plan.team_id !== null) && (
            <>
              <dt>{texts.proposedBy}</dt>
              <dd>
                {isClient ? texts.client(plan.proposed_by ?? "") : proposer(plan, session.people, texts)}
              </dd>
            </>
          )}
          {plan.decided_by !== null && plan.team_id !== null && (
            <>
              <dt>{texts.decided}</dt>
              <dd>{nameOf(plan.decided_by, session.people, texts.you)}</dd>
            </>
          )}
        </>
      }
      remarks={
        stored.isReadable
          ? {
              unsent: stored.comments,
              sent: plan.comments ?? [],
              isOpen: stored.isOpen && stored.mayDecide && stored.running === null,
            }
          : undefined
      }
    />
  );
}
