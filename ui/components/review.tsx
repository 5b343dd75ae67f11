"use client";

import { useState } from "react";
import { useDraft } from "@/lib/draft";
import { findPlan, firstView, loadSession, type Session } from "@/lib/plans";
import { loadClient } from "@/lib/greenlight/load-client";
import { useInBrowser } from "@/lib/use-in-browser";
import { useWatch } from "@/hooks/use-watch";
import { useDraftReview } from "./draft-review";
import { OpenPlan } from "./open-plan";
import { PlanPage } from "./plan-page";
import { useStoredReview } from "./stored-review";
import { useUser } from "./user";

interface Props {
  sessionId: string;
  initial: Session;
}

/** A planning session under review. */
export function Review(props: Props) {
  // Drafts are in the browser's storage, so the server cannot tell what is shown.
  if (useInBrowser()) return <SessionReview {...props} />;
  return (
    <main id="content" className="page" aria-busy="true">
      <h1 className="visually-hidden">Plan</h1>
      <div className="skeleton" />
    </main>
  );
}

/** Shows a stored plan or this browser's draft. Which one changes only when the user asks for it. */
function SessionReview({ sessionId, initial }: Props) {
  const user = useUser();
  const { draft, save, discard } = useDraft(user.id, sessionId);
  const [chosen, setView] = useState(() => firstView(initial, draft));
  const { value: session, reload } = useWatch(
    initial,
    async (known) => loadSession(await loadClient(), sessionId, findPlan(known, chosen)),
    // A proposal may be withdrawn or replaced, and a new version may follow one that was sent back.
    ({ plans }) => plans[0]?.status === "proposed" || plans[0]?.status === "changes_requested",
  );
  const view = chosen === null || (chosen === "draft" && !draft) ? firstView(session, draft) : chosen;
  const [tab, setTab] = useState("read");

  function show(view: string) {
    setTab("read");
    setView(view);
  }

  const stored = useStoredReview({
    sessionId,
    planId: view === null || view === "draft" ? undefined : view,
    session,
    hasDraft: draft !== undefined && !draft.settled,
    tab,
    onTab: setTab,
    onEdit: (draft) => {
      save(draft);
      setView("draft");
    },
    onShow: show,
    onReload: reload,
  });
  const own = useDraftReview({
    sessionId,
    draft: view === "draft" ? draft : undefined,
    session,
    tab,
    onTab: setTab,
    onSave: save,
    onDiscard: () => {
      discard();
      show((session.proposal ?? session.approved)?.id ?? "draft");
    },
    onShow: show,
    onReload: reload,
  });

  // One page for both, so that the editor keeps its focus when the first key press makes a draft of a stored plan.
  const page = own ?? stored;
  return page ? <PlanPage {...page} /> : <OpenPlan sessionId={sessionId} />;
}
