"use client";

import { diffWordsWithSpace, structuredPatch } from "diff";
import { useMemo } from "react";
import { toView } from "@/lib/document";

interface Row {
  kind: "same" | "added" | "removed" | "gap";
  text: React.ReactNode;
}

// Longer lines are compared as a whole: word by word is unreadable in a rewritten paragraph.
const LONGEST_LINE = 4_000;

/** What changed from one version of a document to another, with three lines around each change. */
export function Changes({ from, to }: { from: string; to: string }) {
  const rows = useMemo(() => compare(toView(from), toView(to)), [from, to]);
  if (from === to) return <p className="empty-note">The documents are the same.</p>;
  if (rows.length === 0)
    return <p className="empty-note">Only line endings or a byte order mark differ: the text is the same.</p>;
  const count = (kind: Row["kind"]) => rows.filter((row) => row.kind === kind).length;
  return (
    <div className="changes">
      <p className="changes-summary">
        Lines: <ins>{count("added")} added</ins> <del>{count("removed")} removed</del>
      </p>
      <div className="changes-lines" role="region" aria-label="Changed lines" tabIndex={0}>
        {rows.map((row, index) => (
          <Line key={index} row={row} />
        ))}
      </div>
    </div>
  );
}

function Line({ row: { kind, text } }: { row: Row }) {
  if (kind === "gap")
    return (
      <div className="line" data-kind="gap">
        {text}
      </div>
    );
  const Tag = kind === "added" ? "ins" : kind === "removed" ? "del" : "span";
  return (
    <div className="line" data-kind={kind}>
      <span className="visually-hidden">{kind === "same" ? "" : `${kind}: `}</span>
      <Tag>{text}</Tag>
    </div>
  );
}

function compare(from: string, to: string): Row[] {
  const { hunks } = structuredPatch("", "", from, to, undefined, undefined, { context: 3 });
  const rows: Row[] = [];
  for (const hunk of hunks) {
    if (hunk.oldStart > 1 || rows.length > 0) rows.push({ kind: "gap", text: `Line ${hunk.newStart}` });
    const lines = hunk.lines.filter((line) => !line.startsWith("\\"));
    for (let at = 0; at < lines.length;) {
      if (lines[at]?.startsWith(" ")) {
        rows.push({ kind: "same", text: lines[at]?.slice(1) });
        at++;
        continue;
      }
      const removed = run(lines, at, "-");
      const added = run(lines, at + removed.length, "+");
      at += removed.length + added.length;
      rows.push(...pair(removed, added));
    }
  }
  return rows;
}

function run(lines: string[], from: number, sign: string): string[] {
  const found: string[] = [];
  for (let at = from; lines[at]?.startsWith(sign); at++) found.push(lines[at]?.slice(1) ?? "");
  return found;
}

/** Removed lines and the lines that took their place: what changed within a line is marked. */
function pair(removed: string[], added: string[]): Row[] {
  const before: Row[] = [];
  const after: Row[] = [];
  for (let index = 0; index < Math.max(removed.length, added.length); index++) {
    const old = removed[index];
    const fresh = added[index];
    const words =
      old !== undefined &&
      fresh !== undefined &&
      removed.length === added.length &&
      old.length + fresh.length < LONGEST_LINE
        ? diffWordsWithSpace(old, fresh)
        : null;
    if (old !== undefined)
      before.push({
        kind: "removed",
        text: words
          ? words
              .filter(({ added }) => !added)
              .map(({ value, removed }, at) => (removed ? <mark key={at}>{value}</mark> : value))
          : old,
      });
    if (fresh !== undefined)
      after.push({
        kind: "added",
        text: words
          ? words
              .filter(({ removed }) => !removed)
              .map(({ value, added }, at) => (added ? <mark key={at}>{value}</mark> : value))
          : fresh,
      });
  }
  return [...before, ...after];
}
