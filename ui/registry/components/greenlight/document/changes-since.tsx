"use client";

import { ChevronDown } from "lucide-react";
import { use, useRef } from "react";
import { Button } from "@/components/ui/button";
import type { Plan } from "@/lib/greenlight/client";
import { wasApproved } from "@/lib/greenlight/plans";
import { DocumentTextsContext, type DocumentTexts } from "./texts";
import type { Reading } from "./use-reading";

/** What the marks in a document mean, and a way from one to the next. */
export function ChangesSince({ base, reading }: { base: Plan; reading: Reading | undefined }) {
  const texts = use(DocumentTextsContext).changes;
  const last = useRef<Element>(null);
  if (!reading) return null;
  const version = describe(base, texts);
  const changes = "source" in reading ? "unmarked" : (reading.changes ?? "unmarked");
  if (typeof changes === "string") return <Note>{texts[changes](version)}</Note>;
  const { added, removed } = changes;
  if (added + removed === 0) return <Note>{texts.none(version)}</Note>;

  function showNext() {
    const marks = Array.from(document.querySelectorAll("article [data-change]"));
    const at = last.current ? marks.indexOf(last.current) : -1;
    last.current = marks[(at + 1) % marks.length] ?? null;
    last.current?.scrollIntoView({ block: "center" });
  }

  return (
    <Note>
      {texts.marked(version)}{" "}
      <ins className="rounded-full bg-success/10 px-2 text-success no-underline">{texts.added(added)}</ins>{" "}
      <del className="rounded-full bg-destructive/10 px-2 text-destructive no-underline">
        {texts.removed(removed)}
      </del>
      <Button variant="outline" size="sm" className="ms-auto" onClick={showNext}>
        <ChevronDown aria-hidden /> {texts.next}
      </Button>
    </Note>
  );
}

function Note({ children }: { children: React.ReactNode }) {
  return (
    <p className="mb-5 flex flex-wrap items-center gap-x-2.5 gap-y-1.5 text-sm tabular-nums">{children}</p>
  );
}

function describe(plan: Plan, texts: DocumentTexts["changes"]): string {
  if (wasApproved(plan)) return texts.approved(plan.version);
  if (plan.status === "proposed") return texts.proposed(plan.version);
  return plan.status === "rejected" ? texts.rejected(plan.version) : texts.sentBack(plan.version);
}
