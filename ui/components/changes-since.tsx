"use client";

import type { Plan } from "greenlight-client";
import { ChevronDown } from "lucide-react";
import { useRef } from "react";
import { wasApproved } from "@/lib/plans";
import type { Reading } from "@/lib/use-reading";

/** What the marks in a document mean, and a way from one to the next. */
export function ChangesSince({ base, reading }: { base: Plan; reading: Reading | undefined }) {
  const last = useRef<Element>(null);
  if (!reading) return null;
  const version = `version ${base.version}, which ${what(base)}`;
  if ("source" in reading || !reading.changes)
    return <p className="changes-since">The changes since {version}, could not be marked. Read all of it.</p>;
  const { added, removed } = reading.changes;
  if (added + removed === 0)
    return <p className="changes-since">What you see is the same as in {version}.</p>;

  function showNext() {
    const marks = Array.from(document.querySelectorAll(".prose [data-change]"));
    const at = last.current ? marks.indexOf(last.current) : -1;
    last.current = marks[(at + 1) % marks.length] ?? null;
    last.current?.scrollIntoView({ block: "center" });
  }

  return (
    <p className="changes-since">
      Changes since {version}, are marked: <ins>{added} added</ins> <del>{removed} removed</del>
      <button type="button" className="button small" onClick={showNext}>
        <ChevronDown aria-hidden /> Next change
      </button>
    </p>
  );
}

function what(plan: Plan): string {
  if (wasApproved(plan)) return "was approved";
  if (plan.status === "proposed") return "is proposed";
  return plan.status === "rejected" ? "was rejected" : "was sent back";
}
