"use client";

import { Check, ImageIcon } from "lucide-react";
import { memo, use, useMemo, useState } from "react";
import { Callout } from "@/components/greenlight/callout";
import { Invisible, PlainText } from "@/components/greenlight/plain-text";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { cn } from "@/lib/utils";
import { Beside, MarginContext } from "./margin";
import type { Element, Hidden, Part } from "./markdown";
import { Outline } from "./outline";
import { Source } from "./source";
import { DocumentTextsContext } from "./texts";
import type { Reading } from "./use-reading";

interface Props {
  reading: Reading | undefined;
  content: string;
  /** The element that the rendered document is in. */
  ref?: React.Ref<HTMLElement> | undefined;
}

/**
 * A document as it is approved: all of it, and what a usual rendering leaves out, too. Nothing in it may run. A document
 * that cannot be rendered is shown as its source.
 */
export function MarkdownDocument({ reading, content, ref }: Props) {
  const texts = use(DocumentTextsContext);
  const { isWide, blocks } = use(MarginContext);
  const hasMargin = isWide && blocks.size > 0;
  if (!reading) return <Skeleton className="h-96" aria-busy="true" />;
  if ("source" in reading)
    return (
      <>
        <Callout
          tone={reading.source === "waiting" ? "info" : "warning"}
          text={`${texts[reading.source]} ${texts.sourceCounts}`}
        />
        <Source content={content} />
      </>
    );
  return (
    <div className="@container relative">
      <HiddenParts hidden={reading.hidden} />
      <Outline headings={reading.headings} isFolded={hasMargin} />
      <article
        ref={ref}
        className={cn(
          "space-y-[1em] text-[15.5px]/[1.7] [overflow-wrap:anywhere] md:text-base/[1.7]",
          hasMargin ? "flow-root max-w-[min(70ch,100%-18rem)]" : "max-w-[70ch]",
        )}
      >
        {reading.blocks.map((block, index) => (
          <Block key={index} block={block} />
        ))}
      </article>
    </div>
  );
}

const HIDDEN =
  "rounded-[5px] border border-dashed border-warning/60 bg-[color-mix(in_oklab,var(--warning)_10%,var(--background))] px-[0.35em] py-[0.1em] font-mono text-[0.84em] text-warning [overflow-wrap:anywhere] [unicode-bidi:isolate] whitespace-pre-wrap box-decoration-clone in-[pre]:mb-2 in-[pre]:table";
// Nearly every document has links: their addresses are quieter.
const QUIET = new Set<string | undefined>(["address", "label"]);
const HIDDEN_QUIETLY =
  "px-[0.15em] font-mono text-[0.84em] text-muted-foreground [overflow-wrap:anywhere] [unicode-bidi:isolate] whitespace-pre-wrap";

/** Counts what a usual rendering would hide. */
function HiddenParts({ hidden }: { hidden: Partial<Record<Hidden, number>> }) {
  const texts = use(DocumentTextsContext);
  const counts = Object.entries(hidden) as [Hidden, number][];
  if (counts.length === 0) return null;
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const list = counts
    .map(([kind, count]) => `${count} ${texts.parts[kind][count === 1 ? 0 : 1] ?? kind}`)
    .join(", ");
  const isUsual = counts.every(([kind]) => QUIET.has(kind));
  const text = (
    <p className={isUsual ? "mb-5 max-w-[70ch] text-sm text-muted-foreground" : undefined}>
      {texts.hidden(total, list)} <span className={isUsual ? HIDDEN_QUIETLY : HIDDEN}>{texts.likeThis}</span>.
    </p>
  );
  return isUsual ? text : <Callout tone="warning" text={text} />;
}

// The browser lays out longer blocks only when they come onto the screen.
const LONG = 4_000;

const Block = memo(function Block({ block }: { block: Element }) {
  const { blocks } = use(MarginContext);
  const inside = useMemo(() => blocksIn(block), [block]);
  if (lengthOf(block) <= LONG) return show(block, 0);
  // What stands beside a block would be cut off.
  const isAlone = !inside.some((number) => blocks.has(number));
  return (
    // With room for the mark of a change.
    <div
      className={cn(
        isAlone &&
          "[contain-intrinsic-block-size:auto_1500px] [content-visibility:auto] [overflow-clip-margin:16px]",
      )}
    >
      {show(block, 0)}
    </div>
  );
});

function lengthOf(part: Part): number {
  return typeof part === "string"
    ? part.length
    : part.children.reduce((sum, child) => sum + lengthOf(child), 0);
}

function blocksIn(part: Part): number[] {
  if (typeof part === "string") return [];
  return [...(part.block === undefined ? [] : [part.block]), ...part.children.flatMap(blocksIn)];
}

const CHANGED = {
  added: "border-success bg-success/10",
  removed: "border-destructive bg-destructive/10 line-through decoration-destructive/55",
};
const CHANGED_ROW = {
  added: "bg-success/10 shadow-[inset_3px_0_var(--success)]",
  removed: "bg-destructive/10 line-through decoration-destructive/55 shadow-[inset_3px_0_var(--destructive)]",
};

function showAll(parts: Part[]): React.ReactNode[] {
  return parts.map(show);
}

function show(part: Part, key: number): React.ReactNode {
  if (typeof part === "string") return part;
  if (part.block === undefined) return showMarked(part, key);
  return (
    <Beside key={key} blocks={[part.block]}>
      {showMarked(part, 0)}
    </Beside>
  );
}

function showMarked(part: Element, key: number): React.ReactNode {
  const { change } = part;
  // An item and a row cannot be inside of a mark: what is in them is.
  if (change === undefined || part.tag === "li" || part.tag === "tr") return showElement(part, key);
  const Mark = change === "added" ? "ins" : "del";
  return (
    <Mark
      key={key}
      className={cn("-mx-3 block rounded-sm border-s-3 px-[9px] no-underline", CHANGED[change])}
      data-change={change}
    >
      {showElement(part, 0)}
    </Mark>
  );
}

/** What is in an item or a cell, as a mark if the whole item or row is new, or was removed. */
function marked(change: Element["change"], parts: Part[]): React.ReactNode {
  if (change === undefined) return showAll(parts);
  const Mark = change === "added" ? "ins" : "del";
  return <Mark className="no-underline">{showAll(parts)}</Mark>;
}

// The page's heading is the plan's title, so the document's headings start one level lower.
const HEADINGS = {
  h1: "mb-[0.4em] font-heading text-[26px]/tight font-semibold tracking-[-0.01em] not-first:mt-[1.4em] md:text-3xl/tight",
  h2: "mb-[0.5em] font-heading text-[21px]/tight font-semibold not-first:mt-[1.9em]",
  h3: "mb-[0.6em] text-[17.5px]/tight font-semibold not-first:mt-[1.7em]",
  h4: "leading-tight font-semibold not-first:mt-[1.5em]",
  h5: "leading-tight font-semibold not-first:mt-[1.5em]",
  h6: "leading-tight font-semibold text-muted-foreground not-first:mt-[1.5em]",
};
// However deep it is nested, there is room for the text.
const LIST = "space-y-[0.35em] ps-[1.5em] in-[li_li_li]:ps-[1em]";

function showElement(element: Element, key: number): React.ReactNode {
  const { tag, children, change } = element;
  const placed = { "data-block": element.block };
  switch (tag) {
    case "h1":
    case "h2":
    case "h3":
    case "h4":
    case "h5":
    case "h6": {
      const Heading = `h${Math.min(Number(tag[1]) + 1, 6)}` as "h2";
      return (
        <Heading key={key} id={element.id} className={HEADINGS[tag]} dir="auto" {...placed}>
          {showAll(children)}
        </Heading>
      );
    }
    case "br":
      return <br key={key} />;
    case "hr":
      return <hr key={key} className="my-[2.4em]" />;
    case "ol": {
      // Room for the longest number, which stands before the text.
      const digits = children.reduce(
        (most, item) => (typeof item === "string" ? most : Math.max(most, String(item.number).length)),
        1,
      );
      return (
        <ol
          key={key}
          dir="auto"
          className={cn(LIST, "list-decimal")}
          style={digits > 2 ? { paddingInlineStart: `${digits + 1.5}ch` } : undefined}
        >
          {showAll(children)}
        </ol>
      );
    }
    case "ul":
      return (
        <ul key={key} dir="auto" className={cn(LIST, "list-disc")}>
          {showAll(children)}
        </ul>
      );
    case "p":
      return (
        <p key={key} dir="auto" {...placed}>
          {showAll(children)}
        </p>
      );
    case "line":
      return (
        <div key={key} {...placed}>
          {showAll(children)}
        </div>
      );
    case "blockquote":
      return (
        <blockquote
          key={key}
          dir="auto"
          className="space-y-[0.8em] border-s-3 border-input ps-4.5 text-muted-foreground in-[blockquote_blockquote_blockquote]:ps-2"
        >
          {showAll(children)}
        </blockquote>
      );
    case "code":
      return (
        <code
          key={key}
          className="rounded-[5px] bg-muted px-[0.35em] py-[0.15em] font-mono text-[0.86em] [unicode-bidi:isolate]"
        >
          {showAll(children)}
        </code>
      );
    case "del":
    case "em":
    case "strong": {
      const Tag = tag;
      return <Tag key={key}>{showAll(children)}</Tag>;
    }
    case "li":
      return (
        <li
          key={key}
          value={element.number}
          data-change={change}
          className={cn(
            "marker:text-muted-foreground marker:tabular-nums [&>ol]:mt-[0.35em] [&>p+*]:mt-[0.7em] [&>ul]:mt-[0.35em]",
            element.checked !== undefined && "relative list-none",
            change && ["rounded-sm border-s-3 ps-[9px]", CHANGED[change]],
          )}
        >
          {element.checked !== undefined && <Task isDone={element.checked} />}
          {marked(change, children)}
        </li>
      );
    case "pre":
    case "source":
      return (
        // Nothing is beyond the edge, where a reader does not look.
        <pre
          key={key}
          className="rounded-lg border bg-muted px-4.5 py-4 font-mono whitespace-pre-wrap"
          {...placed}
        >
          <code className="text-[13.5px]/[1.65] [unicode-bidi:isolate]">{showAll(children)}</code>
        </pre>
      );
    case "footnote":
      return (
        <div key={key} id={element.id} className="ps-[1em] text-[0.92em] [&>p:first-of-type]:inline">
          {showAll(children)}
        </div>
      );
    case "table":
      return <Table key={key} rows={children} />;
    case "a":
      return (
        <DocumentLink key={key} href={element.href ?? ""}>
          {showAll(children)}
        </DocumentLink>
      );
    case "picture":
      return (
        <Picture key={key} src={element.href ?? ""} alt={element.alt ?? ""}>
          {showAll(children)}
        </Picture>
      );
    case "hidden":
      return (
        <span key={key} className={QUIET.has(element.hidden) ? HIDDEN_QUIETLY : HIDDEN}>
          {showAll(children)}
        </span>
      );
    case "cut":
      return (
        <span key={key} className="[font-kerning:none] [font-variant-ligatures:none]">
          {showAll(children)}
        </span>
      );
    case "invisible":
      return <Invisible key={key}>{showAll(children)}</Invisible>;
    case "note":
      return (
        <span key={key} className="mb-2 block font-sans text-[12.5px] text-muted-foreground">
          {showAll(children)}
        </span>
      );
    case "word":
      return (
        <mark
          key={key}
          className="rounded-[3px] bg-success/25 text-inherit in-data-[change=removed]:bg-destructive/25"
        >
          {showAll(children)}
        </mark>
      );
    // Only in a table.
    case "tr":
    case "td":
      return showAll(children);
  }
}

/** It only shows a state; it cannot be ticked here. */
function Task({ isDone }: { isDone: boolean }) {
  const texts = use(DocumentTextsContext);
  return (
    <span
      className={cn(
        "absolute -start-[1.5em] top-[0.35em] grid size-4 place-items-center rounded-[5px] border-[1.5px]",
        isDone ? "border-primary bg-primary text-primary-foreground" : "border-input",
      )}
      role="img"
      aria-label={isDone ? texts.done : texts.toDo}
    >
      {isDone && <Check aria-hidden className="size-3 stroke-3" />}
    </span>
  );
}

type Row = Pick<Element, "children" | "align" | "hidden" | "change" | "block">;

const ALIGNED = { left: "text-left", center: "text-center", right: "text-right tabular-nums" };

function Table({ rows }: { rows: Part[] }) {
  const texts = use(DocumentTextsContext);
  const [head, ...body] = rows.map((row, index) => {
    const { change, block, children }: Row = isTag(row, "tr") ? row : { children: [row] };
    const Cell = index === 0 ? "th" : "td";
    return (
      <tr key={index} data-block={block} data-change={change} className={change && CHANGED_ROW[change]}>
        {children.map((part, column) => {
          const cell: Row = isTag(part, "td") ? part : { children: [part] };
          return (
            <Cell
              key={column}
              dir="auto"
              className={cn(
                "min-w-[5em] px-3.5 py-2 align-top @max-[700px]:min-w-0 @max-[700px]:px-1.5",
                index === 0 ? "bg-muted text-[13px] font-medium" : "border-t",
                cell.align ? ALIGNED[cell.align] : "text-start",
                cell.hidden &&
                  "border border-dashed border-warning/60 bg-[color-mix(in_oklab,var(--warning)_10%,var(--background))] text-warning",
              )}
            >
              {marked(change, cell.children)}
            </Cell>
          );
        })}
      </tr>
    );
  });
  return (
    <Beside blocks={rows.flatMap((row) => (typeof row === "string" ? [] : (row.block ?? [])))}>
      <div className="overflow-x-auto rounded-lg border" role="region" aria-label={texts.table} tabIndex={0}>
        <table className="w-full border-collapse text-[14.5px]/normal">
          <thead>{head}</thead>
          <tbody>{body}</tbody>
        </table>
      </div>
    </Beside>
  );
}

function isTag(part: Part, tag: Element["tag"]): part is Element {
  return typeof part !== "string" && part.tag === tag;
}

const LINK = "text-primary underline decoration-primary/40 underline-offset-3";

function DocumentLink({ href, children }: { href: string; children: React.ReactNode }) {
  if (href.startsWith("#")) {
    const target = href.slice(1);
    return (
      <a className={LINK} href={target.startsWith("user-content-") ? href : `#user-content-${target}`}>
        {children}
      </a>
    );
  }
  // A document has no address, so a relative link has no target. It must not lead into this app, or run a script.
  if (!/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>;
  return (
    <a className={LINK} href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

/** A picture on another host is not part of what is approved, and its host learns who reads. So load it only on request. */
function Picture({ src, alt, children }: { src: string; alt: string; children: React.ReactNode }) {
  const texts = use(DocumentTextsContext);
  const [isLoaded, setLoaded] = useState(false);
  const host = /^https:\/\/([^/?#]+)/i.exec(src)?.[1];
  return (
    <span className="inline-flex flex-wrap items-center gap-2 rounded-lg border border-dashed border-input px-3 py-2 text-sm">
      <ImageIcon aria-hidden className="size-4" /> {children}
      {isLoaded ? (
        // The address comes from the document, so a server must not fetch it to optimise it.
        // eslint-disable-next-line @next/next/no-img-element
        <img className="max-w-full rounded-md" src={src} alt={alt} referrerPolicy="no-referrer" />
      ) : host ? (
        <Button
          variant="outline"
          size="sm"
          className="h-auto min-h-8 whitespace-normal"
          onClick={() => {
            setLoaded(true);
          }}
        >
          <span>
            {texts.showFrom} <PlainText>{host}</PlainText>
          </span>
        </Button>
      ) : (
        <span data-aside className="text-muted-foreground">
          {texts.notShown}
        </span>
      )}
    </span>
  );
}
