"use client";

import { MessageSquarePlus } from "lucide-react";
import { use, useEffect, useEffectEvent, useMemo, useRef, useState } from "react";
import { fromView, inView } from "@/components/greenlight/document/bytes";
import { MarkdownDocument } from "@/components/greenlight/document/document";
import { MarginContext, NotesContext } from "@/components/greenlight/document/margin";
import { passageOf, shownAt, type Place } from "@/components/greenlight/document/passage";
import {
  blockOf,
  findBlock,
  numberOf,
  rangeIn,
  selectedPoints,
} from "@/components/greenlight/document/selection";
import type { Reading } from "@/components/greenlight/document/use-reading";
import { Button } from "@/components/ui/button";
import { locateComment, type PlanComment, type Selection } from "@/lib/greenlight/client";
import { CommentCard, CommentList, UnsentCard } from "./comments";
import { PlanReviewContext } from "./texts";
import type { Comments } from "./use-comments";

/** What is said on a document: by the user, not sent yet, and with a decision, as it was sent. */
export interface Remarks {
  unsent: Comments;
  sent: readonly PlanComment[];
  /** Whether more can be said. */
  isOpen: boolean;
}

interface Props {
  reading: Reading | undefined;
  content: string;
  remarks: Remarks;
}

const WIDE = 860;
const NOWHERE: Place[] = [];
// Also in the class below.
const HIGHLIGHT = "greenlight-comment";
const HINT = "greenlight-comment-hint";

/** A document that can be commented, with what was said beside its passages, and all of it in a list below. */
export function ReviewedDocument({ reading, content, remarks }: Props) {
  const texts = use(PlanReviewContext).comments;
  const { unsent, sent, isOpen } = remarks;
  const frame = useRef<HTMLDivElement>(null);
  const article = useRef<HTMLElement>(null);
  const isWide = useIsWide(frame);
  const places = reading && !("source" in reading) ? reading.places : NOWHERE;
  const toView = useMemo(() => inView(content), [content]);

  const notes = [
    ...sent.map((comment, index) => ({
      place: locateComment(content, comment),
      key: `sent ${index}`,
      card: <CommentCard key={`sent ${index}`} comment={comment} />,
    })),
    ...unsent.list.map((comment) => ({
      place: comment.place,
      key: comment.id,
      card: (
        <UnsentCard
          key={comment.id}
          comment={comment}
          unsent={unsent}
          onDone={() => {
            focusBlock(article.current, shown(comment.place)[0]?.block);
          }}
        />
      ),
    })),
  ].map((note) => ({ ...note, parts: shown(note.place) }));

  function shown(place: Selection | null) {
    return place ? shownAt(places, { start: toView(place.start), end: toView(place.end) }) : [];
  }

  const byBlock = new Map<number, React.ReactNode[]>();
  for (const { parts, card } of notes) {
    const block = parts.at(isWide ? 0 : -1)?.block;
    if (block !== undefined) byBlock.set(block, [...(byBlock.get(block) ?? []), card]);
  }
  const blocks = [...byBlock.keys()].sort((a, b) => a - b).join(" ");
  const margin = useMargin(isWide, blocks);

  const marked = notes.flatMap(({ parts }) => parts.map((part) => Object.values(part).join(" "))).join(",");
  useHighlights(article, marked, reading);

  function comment(passage: Selection) {
    const toContent = fromView(content);
    unsent.add({ start: toContent(passage.start), end: toContent(passage.end) });
  }

  const isRead = places.length > 0;
  return (
    <div ref={frame} className="relative">
      {isOpen && isRead && (
        <p id={HINT} className="mb-5 max-w-[70ch] text-sm text-muted-foreground">
          {texts.hint}
        </p>
      )}
      <MarginContext value={margin}>
        <NotesContext value={byBlock}>
          <MarkdownDocument ref={article} reading={reading} content={content} />
        </NotesContext>
      </MarginContext>
      {isOpen && isRead && <Commenting frame={frame} article={article} places={places} onComment={comment} />}
      <CommentList
        sent={sent}
        unsent={unsent}
        isOpen={isOpen}
        onShow={(comment) => {
          const place = locateComment(content, comment);
          focusBlock(article.current, shown(place)[0]?.block);
        }}
      />
    </div>
  );
}

/** The same object as long as the same blocks have something beside them. */
function useMargin(isWide: boolean, blocks: string) {
  return useMemo(
    () => ({ isWide, blocks: new Set(blocks === "" ? [] : blocks.split(" ").map(Number)) }),
    [isWide, blocks],
  );
}

function focusBlock(article: HTMLElement | null, number: number | undefined) {
  const block = number === undefined || !article ? null : findBlock(article, number);
  if (!block) return;
  if (!block.hasAttribute("tabindex")) block.tabIndex = -1;
  block.focus({ preventScroll: true });
  block.scrollIntoView({ block: "center" });
}

function useIsWide(frame: React.RefObject<HTMLElement | null>): boolean {
  const [isWide, setWide] = useState(false);
  useEffect(() => {
    if (!frame.current) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWide(entry.contentRect.width >= WIDE);
    });
    observer.observe(frame.current);
    return () => {
      observer.disconnect();
    };
  }, [frame]);
  return isWide;
}

/** Colours the passages, where the browser can: the document's elements stay as they are. */
function useHighlights(article: React.RefObject<HTMLElement | null>, marked: string, reading: unknown) {
  useEffect(() => {
    const shown = article.current;
    if (!shown || marked === "" || !("highlights" in CSS)) return;
    const ranges = marked.split(",").flatMap((part) => {
      const [number = 0, from = 0, to = 0] = part.split(" ").map(Number);
      const block = findBlock(shown, number);
      return block ? rangeIn(block, from, to) : [];
    });
    // Not in a style sheet of the app: build tools take ::highlight for a slip of the pen, and warn.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(
      `::highlight(${HIGHLIGHT}) { background-color: color-mix(in oklab, var(--warning) 20%, transparent); }`,
    );
    document.adoptedStyleSheets.push(sheet);
    CSS.highlights.set(HIGHLIGHT, new Highlight(...ranges));
    return () => {
      CSS.highlights.delete(HIGHLIGHT);
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    };
  }, [article, marked, reading]);
}

interface CommentingProps {
  frame: React.RefObject<HTMLElement | null>;
  article: React.RefObject<HTMLElement | null>;
  places: readonly Place[];
  onComment: (passage: Selection) => void;
}

/** What could be commented now, and where the button for it stands. */
interface Offer {
  passage: Selection;
  top: number;
  left: number;
}

/** A button at what is selected, or at the block that has the focus. Of the blocks one is in the order of the tab key. */
function Commenting({ frame, article, places, onComment }: CommentingProps) {
  const texts = use(PlanReviewContext).comments;
  const [selected, setSelected] = useState<Offer | null>(null);
  const [focused, setFocused] = useState<Offer | null>(null);
  const isPressed = useRef(false);
  const offer = selected ?? focused;
  const onEnter = useEffectEvent(onComment);

  useEffect(() => {
    const shown = article.current;
    if (!shown) return;
    const ended = new AbortController();
    const listen = { signal: ended.signal };
    let isDragging = false;

    const blocks = () => Array.from(shown.querySelectorAll<HTMLElement>("[data-block]"));
    const makeCurrent = (block: HTMLElement | undefined) => {
      for (const each of shown.querySelectorAll<HTMLElement>('[data-block][tabindex="0"]'))
        each.tabIndex = -1;
      if (block) block.tabIndex = 0;
    };
    for (const block of blocks()) {
      block.tabIndex = -1;
      block.setAttribute("aria-describedby", HINT);
      block.setAttribute("aria-keyshortcuts", "Enter");
    }
    makeCurrent(blocks()[0]);

    const offerAt = (passage: Selection | null, box: DOMRect | undefined): Offer | null => {
      const around = frame.current?.getBoundingClientRect();
      if (!passage || !box || !around) return null;
      return { passage, top: box.bottom - around.top + 6, left: Math.max(0, box.right - around.left - 40) };
    };
    const whole = (block: HTMLElement): Selection | null => {
      const place = places[numberOf(block)];
      return place ? { start: place.start, end: place.end } : null;
    };
    const look = () => {
      if (isPressed.current || isDragging) return;
      const selection = document.getSelection();
      const range = selection?.rangeCount ? selection.getRangeAt(0) : undefined;
      const points = range && !range.collapsed ? selectedPoints(range, shown) : null;
      const box = Array.from(range?.getClientRects() ?? []).at(-1);
      setSelected(points ? offerAt(passageOf(places, points.from, points.to), box) : null);
    };

    document.addEventListener("selectionchange", look, listen);
    shown.addEventListener(
      "pointerdown",
      ({ pointerType }) => {
        isDragging = pointerType === "mouse";
      },
      listen,
    );
    const release = () => {
      isDragging = false;
      if (!isPressed.current) look();
    };
    document.addEventListener("pointerup", release, listen);
    document.addEventListener("pointercancel", release, listen);

    shown.addEventListener(
      "focusin",
      ({ target }) => {
        const block = blockOf(target as Node);
        if (!block || block !== target) return;
        makeCurrent(block);
        setFocused(offerAt(whole(block), block.getBoundingClientRect()));
      },
      listen,
    );
    shown.addEventListener(
      "focusout",
      () => {
        if (!isPressed.current) setFocused(null);
      },
      listen,
    );
    shown.addEventListener(
      "keydown",
      (event) => {
        const block = blockOf(event.target as Node);
        if (
          !block ||
          block !== event.target ||
          event.ctrlKey ||
          event.metaKey ||
          event.altKey ||
          event.shiftKey
        )
          return;
        const all = blocks();
        const at = all.indexOf(block);
        const passage = whole(block);
        const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
        if (event.key === "Enter" && passage) onEnter(passage);
        else if (next !== undefined) all[next]?.focus();
        else return;
        event.preventDefault();
      },
      listen,
    );
    return () => {
      ended.abort();
    };
  }, [article, frame, places]);

  if (!offer) return null;
  return (
    <Button
      size="sm"
      className="absolute z-10 select-none shadow-md"
      // Within the page, however narrow it becomes.
      style={{ top: offer.top, left: `min(${offer.left}px, 100% - 8rem)` }}
      onPointerDown={() => {
        isPressed.current = true;
      }}
      onPointerLeave={() => {
        isPressed.current = false;
      }}
      // What is selected stays so, and what has the focus.
      onMouseDown={(event) => {
        event.preventDefault();
      }}
      onClick={() => {
        isPressed.current = false;
        setSelected(null);
        setFocused(null);
        document.getSelection()?.removeAllRanges();
        onComment(offer.passage);
      }}
    >
      <MessageSquarePlus aria-hidden /> {texts.comment}
    </Button>
  );
}
