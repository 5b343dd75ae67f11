"use client";

import { Inbox } from "lucide-react";
import { use, useMemo, type ReactNode } from "react";
import { AskAgain } from "@/components/greenlight/ask-again";
import { Callout } from "@/components/greenlight/callout";
import { AppLink } from "@/components/greenlight/link";
import { Pager } from "@/components/greenlight/pager";
import { PlainText } from "@/components/greenlight/plain-text";
import { Quote } from "@/components/greenlight/quote";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { useLoaded } from "@/hooks/use-loaded";
import { useWatch } from "@/hooks/use-watch";
import { listMarks, type ListedPlan } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";
import { decider, nameOf, type People } from "@/lib/greenlight/people";
import { proposer } from "@/lib/greenlight/plans";
import {
  loadPlans,
  newestOf,
  PAGE_SIZE,
  pagesOf,
  SHOWN,
  type ListName,
  type Pages,
  type Plans,
} from "./plan-inbox/load-plans";
import { planInboxTexts, PlanInboxContext, type PlanInboxTexts } from "./plan-inbox/texts";

export { planInboxTexts };
export { useWaitingCount } from "./plan-inbox/use-waiting-count";

interface Props {
  /** The address at which a planning session is reviewed: of the owner who is named, or else the user's own. */
  reviewHref: (sessionId: string, owner?: string) => string;
  /** Called after a decision. */
  onDecided?: (() => void) | undefined;
  /** What else is shown while nothing waits. */
  empty?: ReactNode;
  /** The lists and their pages, if the server has loaded them already. Else the pages are those of the address. */
  initial?: { pages: Pages; plans: Plans } | undefined;
  texts?: Partial<PlanInboxTexts> | undefined;
}

/** The proposals that wait for the user or for others, those that expired before a decision, and the decisions. */
export function PlanInbox(props: Props) {
  const { initial } = props;
  const texts = useMemo(() => ({ ...planInboxTexts, ...props.texts }), [props.texts]);
  const loaded = useLoaded("", initial ? undefined : loadStart);
  const start = initial ?? loaded.data;
  return (
    <PlanInboxContext value={texts}>
      {loaded.error ? (
        <Callout tone="danger" text={texts.errors[loaded.error]}>
          <Button variant="outline" onClick={loaded.retry}>
            {texts.tryAgain}
          </Button>
        </Callout>
      ) : start ? (
        <Lists {...props} {...start} />
      ) : (
        <Skeleton className="h-48" aria-busy="true" />
      )}
    </PlanInboxContext>
  );
}

async function loadStart() {
  const query = new URLSearchParams(location.search);
  const pages = pagesOf(Object.fromEntries(query));
  return { pages, plans: await loadPlans(await loadClient(), pages) };
}

function Lists({ reviewHref, onDecided, empty, pages, plans }: Props & { pages: Pages; plans: Plans }) {
  const texts = use(PlanInboxContext);
  const { value: known, reload } = useWatch(
    plans,
    async () => loadPlans(await loadClient(), pages),
    () => SHOWN,
    ({ lists }) => listMarks(SHOWN, newestOf(lists)),
  );
  const { lists: value, people } = known;
  const all = Object.values(value).flatMap(({ plans }) => plans);
  const name = (id: string) => nameOf(id, people, texts.you);

  function list(name: ListName, ...[facts, below]: Rows) {
    const { plans, count } = value[name];
    return (
      <>
        {plans.length === 0 ? (
          <p className="text-muted-foreground">{texts.noMore}</p>
        ) : (
          <ul className="divide-y overflow-hidden rounded-lg border bg-card">
            {plans.map((plan) => (
              <Row
                key={plan.id}
                plan={plan}
                href={reviewHref(plan.session_id, plan.user_id === people.id ? undefined : plan.user_id)}
                people={people}
                // The session tells plans of the same title apart.
                isTwin={all.some(
                  ({ title, session_id, user_id }) =>
                    title === plan.title && user_id === plan.user_id && session_id !== plan.session_id,
                )}
                facts={facts(plan)}
              >
                {below?.(plan)}
              </Row>
            ))}
          </ul>
        )}
        <Pager
          label={texts[`${name}Pages`]}
          page={pages[name]}
          pageSize={PAGE_SIZE}
          shown={plans.length}
          more={count > pages[name] * PAGE_SIZE}
          count={count}
          href={(page) => addressOf({ ...pages, [name]: page }, name)}
          texts={texts.pager}
        />
      </>
    );
  }

  /** A list of others' plans, below those of the user's own. */
  function teamList(name: "teamWaiting" | "teamExpired" | "teamDecided", ...rows: Rows) {
    if (value[name].count === 0) return null;
    return (
      <div className="mt-6 [h2+&]:mt-0">
        <h3 id={name} className="mb-2 text-sm font-medium text-muted-foreground">
          {texts[name]}
        </h3>
        {list(name, ...rows)}
      </div>
    );
  }

  const waits = (plan: ListedPlan) => (
    <>
      <span>
        {texts.by(proposer(plan, people, texts))}, <Time at={plan.created_at} />
      </span>
      {plan.expires_at && (
        <span>
          {texts.expires} <Time at={plan.expires_at} />
        </span>
      )}
    </>
  );
  const expired = (plan: ListedPlan) => (
    <span>
      {texts.by(proposer(plan, people, texts))}, {texts.hasExpired} <Time at={plan.expires_at ?? ""} />
    </span>
  );
  const askAgain = (plan: ListedPlan) =>
    plan.may_decide && (
      <div className="px-4 pb-3.5">
        <AskAgain
          plan={plan}
          texts={texts.askAgain}
          errors={texts.errors}
          onAsked={async () => {
            await reload();
            onDecided?.();
          }}
        />
      </div>
    );
  const decided = (plan: ListedPlan) => (
    <>
      <span>
        <Status status={plan.status}>{texts.status[plan.status]}</Status>
      </span>
      <span>
        {plan.team_id !== null && plan.decided_by !== null && <>{texts.by(name(plan.decided_by))}, </>}
        <Time at={plan.decided_at ?? plan.updated_at} />
      </span>
    </>
  );
  return (
    <div className="grid gap-10">
      <Section id="waiting" title={texts.waiting}>
        {value.waiting.count + value.teamWaiting.count === 0 ? (
          <div className="grid justify-items-center gap-2 rounded-lg border border-dashed px-6 py-12 text-center text-balance">
            <Inbox aria-hidden className="size-6 text-muted-foreground" />
            <h3 className="font-semibold">{texts.nothing}</h3>
            <p className="max-w-[50ch] text-sm text-muted-foreground">{texts.nothingLead}</p>
            {empty}
          </div>
        ) : (
          <>
            {value.waiting.count > 0 && list("waiting", waits)}
            {teamList("teamWaiting", waits)}
          </>
        )}
      </Section>
      {value.others.count > 0 && (
        <Section id="others" title={texts.others}>
          <p className="mb-3 text-sm text-muted-foreground">{texts.othersLead}</p>
          {list("others", waits)}
        </Section>
      )}
      {value.expired.count + value.teamExpired.count > 0 && (
        <Section id="expired" title={texts.expired}>
          {value.expired.count > 0 && list("expired", expired, askAgain)}
          {teamList("teamExpired", expired, askAgain)}
        </Section>
      )}
      {value.decided.count + value.teamDecided.count > 0 && (
        <Section id="decided" title={texts.decided}>
          {value.decided.count > 0 && list("decided", decided)}
          {teamList("teamDecided", decided)}
        </Section>
      )}
    </div>
  );
}

/** The address of these pages, at the list whose page changes. */
function addressOf(pages: Pages, list: ListName): string {
  const query = new URLSearchParams(
    Object.entries(pages).flatMap(([name, page]) => (page > 1 ? [[name, String(page)]] : [])),
  );
  return `?${query.toString()}#${list}`;
}

function Section({ id, title, children }: { id: string; title: string; children: ReactNode }) {
  return (
    <section aria-labelledby={id}>
      <h2 id={id} className="mb-3 text-base font-semibold">
        {title}
      </h2>
      {children}
    </section>
  );
}

/** What is said of each plan, and what is below it. */
type Rows = [facts: (plan: ListedPlan) => ReactNode, below?: (plan: ListedPlan) => ReactNode];

interface RowProps {
  plan: ListedPlan;
  people: People;
  href: string;
  isTwin: boolean;
  facts: ReactNode;
  children: ReactNode;
}

function Row({ plan, people, href, isTwin, facts, children }: RowProps) {
  const texts = use(PlanInboxContext);
  const other = decider(plan, people);
  return (
    <li>
      <AppLink href={href} className="grid gap-1 px-4 py-3.5 -outline-offset-2! hover:bg-accent/60">
        <strong className="font-semibold [overflow-wrap:anywhere]">
          <PlainText>{plan.title}</PlainText>
        </strong>
        <span className="flex flex-wrap items-center gap-x-2 gap-y-0.5 text-sm text-muted-foreground [&>*+*]:before:me-2 [&>*+*]:before:content-['·']">
          <span className="tabular-nums">{texts.version(plan.version)}</span>
          {plan.user_id !== people.id && <span>{texts.of(nameOf(plan.user_id, people, texts.you))}</span>}
          {isTwin && <span className="[overflow-wrap:anywhere]">{texts.session(plan.session_id)}</span>}
          {facts}
        </span>
        {plan.comment && (
          <Quote label={other === null ? texts.yourComment : texts.commentOf(other)}>{plan.comment}</Quote>
        )}
      </AppLink>
      {children}
    </li>
  );
}
