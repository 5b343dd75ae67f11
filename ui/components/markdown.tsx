"use client";

import { ImageIcon } from "lucide-react";
import { memo, useState } from "react";
import type { Element, Hidden, Part } from "@/lib/markdown";
import type { Reading } from "@/lib/use-reading";
import { Callout } from "./callout";
import { Outline } from "./outline";
import { Invisible, PlainText } from "@/components/greenlight/plain-text";
import { Source } from "./source";

const NOT_RENDERED = {
  waiting: "It takes long to render this document. Until then, you see its source.",
  slow: "It would take too long to render this document, so you see its source.",
  large: "This document has too many parts to be rendered, so you see its source.",
  failed: "This document cannot be rendered, so you see its source.",
};

/**
 * A document as it is approved: all of it, and what a usual rendering leaves out, too. Nothing in it may run. A document
 * that cannot be rendered is shown as its source.
 */
export function MarkdownDocument({ reading, content }: { reading: Reading | undefined; content: string }) {
  if (!reading) return <div className="skeleton" aria-busy="true" />;
  if ("source" in reading)
    return (
      <>
        <Callout
          tone={reading.source === "waiting" ? "info" : "warning"}
          text={`${NOT_RENDERED[reading.source]} The source is what you approve.`}
        />
        <Source content={content} />
      </>
    );
  return (
    <div className="reader">
      <HiddenParts hidden={reading.hidden} />
      <Outline headings={reading.headings} />
      <article className="prose">
        {reading.blocks.map((block, index) => (
          <Block key={index} block={block} />
        ))}
      </article>
    </div>
  );
}

const NAMES: Record<Hidden, [one: string, many: string]> = {
  address: ["address of a link", "addresses of links"],
  cell: ["table cell without a header", "table cells without a header"],
  "code information": ["note on a code block", "notes on code blocks"],
  comment: ["HTML comment", "HTML comments"],
  definition: [
    "definition that is not used, or has a title",
    "definitions that are not used, or have a title",
  ],
  footnote: ["footnote that nothing refers to", "footnotes that nothing refers to"],
  HTML: ["piece of HTML", "pieces of HTML"],
  invisible: ["run of invisible characters", "runs of invisible characters"],
  label: ["label of a link", "labels of links"],
  other: ["other text", "other texts"],
  picture: ["picture's description", "pictures' descriptions"],
  title: ["title of a link", "titles of links"],
};
// Nearly every document has links.
const USUAL = new Set<string>(["address", "label"]);

/** Counts what a usual rendering would hide. */
function HiddenParts({ hidden }: { hidden: Partial<Record<Hidden, number>> }) {
  const counts = Object.entries(hidden) as [Hidden, number][];
  if (counts.length === 0) return null;
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const list = counts.map(([kind, count]) => `${count} ${NAMES[kind][count === 1 ? 0 : 1]}`).join(", ");
  const text = (
    <>
      A usual rendering would hide {total} {total === 1 ? "part" : "parts"} of this document: {list}. Here{" "}
      {total === 1 ? "it is" : "they are"} shown in place, <span className="hidden-part">like this</span>.
    </>
  );
  if (counts.every(([kind]) => USUAL.has(kind))) return <p className="hidden-note">{text}</p>;
  return <Callout tone="warning" text={text} />;
}

// The browser lays out longer blocks only when they come onto the screen.
const LONG = 4_000;

const Block = memo(function Block({ block }: { block: Element }) {
  return lengthOf(block) > LONG ? <div className="long">{show(block, 0)}</div> : show(block, 0);
});

function lengthOf(part: Part): number {
  return typeof part === "string"
    ? part.length
    : part.children.reduce((sum, child) => sum + lengthOf(child), 0);
}

function showAll(parts: Part[]): React.ReactNode[] {
  return parts.map(show);
}

function show(part: Part, key: number): React.ReactNode {
  if (typeof part === "string") return part;
  const { change } = part;
  // An item and a row cannot be inside of a mark: what is in them is.
  if (change === undefined || part.tag === "li" || part.tag === "tr") return showElement(part, key);
  const Mark = change === "added" ? "ins" : "del";
  return (
    <Mark key={key} className="change" data-change={change}>
      {showElement(part, 0)}
    </Mark>
  );
}

/** What is in an item or a cell, as a mark if the whole item or row is new, or was removed. */
function marked(change: Element["change"], parts: Part[]): React.ReactNode {
  if (change === undefined) return showAll(parts);
  const Mark = change === "added" ? "ins" : "del";
  return <Mark>{showAll(parts)}</Mark>;
}

function showElement(element: Element, key: number): React.ReactNode {
  const { tag, children, change } = element;
  switch (tag) {
    // The page's heading is the plan's title, so the document's headings start one level lower.
    case "h1":
    case "h2":
    case "h3":
    case "h4":
    case "h5":
    case "h6": {
      const Heading = `h${Math.min(Number(tag[1]) + 1, 6)}` as "h2";
      return (
        <Heading key={key} id={element.id} className={tag} dir="auto">
          {showAll(children)}
        </Heading>
      );
    }
    case "br":
    case "hr": {
      const Tag = tag;
      return <Tag key={key} />;
    }
    case "ol": {
      // Room for the longest number, which stands before the text.
      const digits = children.reduce(
        (most, item) => (typeof item === "string" ? most : Math.max(most, String(item.number).length)),
        1,
      );
      return (
        <ol key={key} dir="auto" style={digits > 2 ? { paddingInlineStart: `${digits + 1.5}ch` } : undefined}>
          {showAll(children)}
        </ol>
      );
    }
    case "p":
    case "ul":
    case "blockquote": {
      const Tag = tag;
      return (
        <Tag key={key} dir="auto">
          {showAll(children)}
        </Tag>
      );
    }
    case "code":
    case "del":
    case "em":
    case "strong": {
      const Tag = tag;
      return <Tag key={key}>{showAll(children)}</Tag>;
    }
    case "li":
      return (
        <li key={key} value={element.number} data-task={element.checked} data-change={change}>
          {element.checked !== undefined && (
            // It only shows a state; it cannot be ticked here.
            <span
              className="task"
              role="img"
              aria-label={element.checked ? "done:" : "to do:"}
              data-checked={element.checked}
            />
          )}
          {marked(change, children)}
        </li>
      );
    case "pre":
    case "source":
      return (
        <pre key={key}>
          <code>{showAll(children)}</code>
        </pre>
      );
    case "footnote":
      return (
        <div key={key} id={element.id} className="footnote">
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
        <span key={key} className="hidden-part" data-kind={element.hidden}>
          {showAll(children)}
        </span>
      );
    case "cut":
      return (
        <span key={key} className="cut">
          {showAll(children)}
        </span>
      );
    case "invisible":
      return <Invisible key={key}>{showAll(children)}</Invisible>;
    case "note":
      return (
        <span key={key} className="code-note">
          {showAll(children)}
        </span>
      );
    case "word":
      return <mark key={key}>{showAll(children)}</mark>;
    // Only in a table.
    case "tr":
    case "td":
      return showAll(children);
  }
}

type Row = Pick<Element, "children" | "align" | "hidden" | "change">;

function Table({ rows }: { rows: Part[] }) {
  const [head, ...body] = rows.map((row, index) => {
    const { change, children }: Row = isTag(row, "tr") ? row : { children: [row] };
    const Cell = index === 0 ? "th" : "td";
    return (
      <tr key={index} data-change={change}>
        {children.map((part, column) => {
          const cell: Row = isTag(part, "td") ? part : { children: [part] };
          return (
            <Cell key={column} dir="auto" align={cell.align} data-hidden={cell.hidden}>
              {marked(change, cell.children)}
            </Cell>
          );
        })}
      </tr>
    );
  });
  return (
    <div className="table" role="region" aria-label="Table" tabIndex={0}>
      <table>
        <thead>{head}</thead>
        <tbody>{body}</tbody>
      </table>
    </div>
  );
}

function isTag(part: Part, tag: Element["tag"]): part is Element {
  return typeof part !== "string" && part.tag === tag;
}

function DocumentLink({ href, children }: { href: string; children: React.ReactNode }) {
  if (href.startsWith("#")) {
    const target = href.slice(1);
    return <a href={target.startsWith("user-content-") ? href : `#user-content-${target}`}>{children}</a>;
  }
  // A document has no address, so a relative link has no target. It must not lead into this app, or run a script.
  if (!/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

/** A picture on another host is not part of what is approved, and its host learns who reads. So load it only on request. */
function Picture({ src, alt, children }: { src: string; alt: string; children: React.ReactNode }) {
  const [isLoaded, setLoaded] = useState(false);
  const host = /^https:\/\/([^/?#]+)/i.exec(src)?.[1];
  return (
    <span className="picture">
      <ImageIcon aria-hidden /> {children}
      {isLoaded ? (
        // The address comes from the document, so Next's image optimiser must not fetch it.
        // eslint-disable-next-line @next/next/no-img-element
        <img src={src} alt={alt} referrerPolicy="no-referrer" />
      ) : host ? (
        <button
          type="button"
          className="button small"
          onClick={() => {
            setLoaded(true);
          }}
        >
          <span>
            Show from <PlainText>{host}</PlainText>
          </span>
        </button>
      ) : (
        <span className="muted">not shown</span>
      )}
    </span>
  );
}
