import { useEffect, useRef, useState } from "react";
import type { Changes, Line } from "./changes";
import { openReader, type Reader } from "./read";
import type { Marked, Read, Unreadable } from "./reader.worker";

// After this time the page shows what there is: the source, or the rendering without the changes.
const PATIENCE_MS = 700;

/** A document as it is shown: rendered, or as its source, and why. */
export type Reading =
  | (Read & {
      /** Absent if there is nothing to compare with. A word while the changes are not marked, or if they cannot be. */
      changes?: Changes | "comparing" | "unmarked";
    })
  | { source: Unreadable | "waiting" };

/** What a document is compared with: undefined if there is nothing, and null while that is not known. */
export type Base = string | null | undefined;

/** Renders a document, and marks what has changed since `base`. Undefined for the first moment. */
export function useReading(content: string | undefined, base: Base): Reading | undefined {
  const reader = useRef<Reader>(null);
  const [read, setRead] = useState<{ content: string; answer: Read | Unreadable }>();
  const [marked, setMarked] = useState<{ content: string; base: string; answer: Marked | Unreadable }>();
  const [waitedFor, setWaitedFor] = useState<string>();
  useEffect(() => {
    if (content === undefined) return;
    const opened = openReader();
    reader.current = opened;
    void opened.render(content).then((answer) => {
      setRead({ content, answer });
    });
    const patience = setTimeout(() => {
      setWaitedFor(content);
    }, PATIENCE_MS);
    return () => {
      clearTimeout(patience);
      opened.stop();
    };
  }, [content]);
  // The document is parsed once, even if the base comes later.
  useEffect(() => {
    if (content === undefined || typeof base !== "string") return;
    void reader.current?.mark(base).then((answer) => {
      setMarked({ content, base, answer });
    });
  }, [content, base]);

  const isOverdue = content !== undefined && waitedFor === content;
  if (read === undefined || read.content !== content) return isOverdue ? { source: "waiting" } : undefined;
  if (typeof read.answer === "string") return { source: read.answer };
  if (base === undefined) return read.answer;
  if (marked?.content !== content || marked.base !== base)
    return isOverdue ? { ...read.answer, changes: "comparing" } : undefined;
  return typeof marked.answer === "string" ? { ...read.answer, changes: "unmarked" } : marked.answer;
}

/** The lines of two sources. Undefined while they are compared, or if they cannot be. */
export function useLines(content: string | undefined, base: Base): Line[] | undefined {
  const [known, setKnown] = useState<{ content: string; base: string; lines: Line[] | undefined }>();
  useEffect(() => {
    if (content === undefined || typeof base !== "string") return;
    const reader = openReader();
    void reader.compare(content, base).then((answer) => {
      setKnown({ content, base, lines: typeof answer === "string" ? undefined : answer });
    });
    return reader.stop;
  }, [content, base]);
  return known && known.content === content && known.base === base ? known.lines : undefined;
}
