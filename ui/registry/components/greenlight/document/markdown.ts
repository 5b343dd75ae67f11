import GithubSlugger from "github-slugger";
import type { ListItem, Nodes } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { visible } from "@/lib/greenlight/visible";
import { aligner, type Place } from "./passage";

/** What a usual rendering leaves out, and this one shows. */
export type Hidden =
  | "address"
  | "cell"
  | "code information"
  | "comment"
  | "definition"
  | "footnote"
  | "HTML"
  | "invisible"
  | "label"
  | "other"
  | "picture"
  | "title";

type Tag =
  | `h${1 | 2 | 3 | 4 | 5 | 6}`
  | (
      | "a"
      | "blockquote"
      | "br"
      | "code"
      | "cut"
      | "del"
      | "em"
      | "footnote"
      | "hidden"
      | "hr"
      | "invisible"
      | "li"
      | "line"
    )
  | ("note" | "ol" | "p" | "picture" | "pre" | "source" | "strong" | "table" | "td" | "tr" | "ul" | "word");

export type Part = string | Element;

/** A part of a rendered document: plain data, so that a worker can send it. */
export interface Element {
  tag: Tag;
  children: Part[];
  /** Of a link and a picture. */
  href?: string;
  /** Of a picture. */
  alt?: string;
  /** Of a heading and a footnote. */
  id?: string;
  /** Of an item in an ordered list. */
  number?: number;
  /** Of an item in a task list. */
  checked?: boolean;
  /** Of a table's cell. */
  align?: "left" | "center" | "right";
  hidden?: Hidden;
  change?: "added" | "removed";
  /** Of a block of text: which of the rendering's places it is. */
  block?: number;
}

export interface Rendering {
  blocks: Element[];
  /** How often each kind of thing was found that a usual rendering leaves out. */
  hidden: Partial<Record<Hidden, number>>;
  /** Where the blocks of text stand in the source, in their order. */
  places: Place[];
  /** How many parts it has: what the browser has to build. */
  size: number;
}

/** The document is too large or too intricate to be rendered. */
export class TooLarge extends Error {}

const MAX_PARTS = 40_000;
// What is nested deeper than this, or has more columns, is shown as source: it would not fit on a screen.
const MAX_DEPTH = 16;
const MAX_COLUMNS = 8;
// Browsers take minutes to break a longer text into lines. In pieces, it is faster.
const MAX_TEXT = 50_000;
const MAX_LINE = 20_000;
const MAX_RUN = 1_000;
const RUNS = new RegExp(`[^]{1,${MAX_RUN.toString()}}`, "gu");

const FRONT_MATTER = /^(---|\+\+\+)[ \t]*\n(?=.*\S)(?:.*\n)*?\1[ \t]*(?:\n|$)/;

const MDAST_EXTENSIONS = [gfmFromMarkdown()].flat(2).map((extension) => ({
  ...extension,
  // They find more links in the text, but make nodes without a position.
  transforms: [],
}));

/** The characters that may stand between the children of a node without being shown: its markup. */
const MARKUP: Partial<Record<Nodes["type"], RegExp>> = {
  delete: /[~>\s]/g,
  emphasis: /[*_>\s]/g,
  heading: /[#=\->\s]/g,
  link: /[[\]<>()\s]/g,
  linkReference: /[[\]>\s]/g,
  listItem: /^[>\s]*(?:[-+*]|\d{1,9}[.)])[>\s]*(?:\[[ xX]\])?|[>\s]/g,
  strong: /[*_>\s]/g,
  table: /[|:\->\s]/g,
  tableCell: /[|>\s]/g,
  tableRow: /[|>\s]/g,
};
const CONTAINER = /[>\s]/g;

/** What has blocks in it, and not text. */
const BLOCKS = new Set<Nodes["type"]>(["root", "blockquote", "listItem", "footnoteDefinition"]);

const TAGS = {
  delete: "del",
  emphasis: "em",
  strong: "strong",
  blockquote: "blockquote",
} as const;

/**
 * Renders a document so that everything in it can be seen. What Markdown would leave out is shown as text, where it
 * stands: a part of the source that is neither rendered nor known to be markup is hidden text. Throws TooLarge, and an
 * error if something is missing all the same: then the caller has to show the source.
 */
export function render(source: string): Rendering {
  const hidden: Rendering["hidden"] = {};
  // What the rendering tells of the source, for the check at the end.
  let told = "";
  let size = 0;
  const places: Place[] = [];
  // The block that is being built, and how much of its text there is.
  let place: Place | undefined;
  let length = 0;
  // What is referred to, and what can be: the rest would not be seen.
  const references = new Map<string, Element[]>();
  const targets: { key: string; hidden: Element; url: string; title: boolean }[] = [];
  const front = FRONT_MATTER.exec(source)?.[0] ?? "";
  // Positions stay as they are.
  const markdown = front.replace(/[^\n]/g, " ") + source.slice(front.length);
  const root = fromMarkdown(markdown, { extensions: [gfm()], mdastExtensions: MDAST_EXTENSIONS });

  const blocks: Element[] =
    front === ""
      ? []
      : [
          block(0, front.trimEnd().length, () => {
            length = "Front matter".length;
            return element("pre", [element("note", ["Front matter"]), ...text(front.trimEnd(), 0)]);
          }),
        ];
  for (const part of contents(root, 0))
    blocks.push(typeof part === "string" || part.tag === "hidden" ? element("p", [part]) : part);
  for (const { key, hidden, url, title } of targets) {
    const used = references.get(key);
    for (const reference of used ?? []) reference.href = url;
    // Of two definitions of a label, only the first one counts.
    references.delete(key);
    hidden.hidden = used && !title ? "address" : key.startsWith("^") ? "footnote" : "definition";
    count(hidden.hidden);
  }
  if (!isComplete(source, told)) throw new Error("The rendering leaves something out");
  return { blocks, hidden, places, size };

  /** A block of text, and nothing but text: a comment can be on all of it. */
  function block(start: number, end: number, make: () => Element): Element {
    if (place) return make();
    const number = places.length;
    place = { start, end, runs: [] };
    length = 0;
    places.push(place);
    const made = make();
    place = undefined;
    return { ...made, block: number };
  }

  function element(tag: Element["tag"], children: Part[], more: Partial<Element> = {}): Element {
    if (++size > MAX_PARTS) throw new TooLarge();
    return { tag, children, ...more };
  }

  function count(kind: Hidden) {
    hidden[kind] = (hidden[kind] ?? 0) + 1;
  }

  /** Text of the source between these positions: what is invisible in it gets a name. */
  function text(value: string, from: number, to = from + value.length): Part[] {
    told += value;
    const align = place && aligner(source, from, to);
    const isLong = value.length > MAX_LINE && value.split("\n").some(({ length }) => length > MAX_LINE);
    if (isLong || value.length > MAX_TEXT) throw new TooLarge();
    return visible(value).flatMap((piece) => {
      const runs = align?.(typeof piece === "string" ? piece : piece.hidden, length) ?? [];
      length += typeof piece === "string" ? piece.length : piece.mark.length;
      if (typeof piece === "string") {
        place?.runs.push(...runs);
        return piece.length > MAX_RUN ? cut(piece) : piece;
      }
      count("invisible");
      return element("invisible", [piece.mark], { hidden: "invisible" });
    });
  }

  function cut(text: string): Part[] {
    return (text.match(RUNS) ?? []).map((run) => element("cut", [run]));
  }

  function shown(kind: Hidden, value: string, from: number, to?: number): Element {
    count(kind);
    return element("hidden", text(value, from, to), { hidden: kind });
  }

  function reference(key: string, element: Element): Element {
    references.set(key, [...(references.get(key) ?? []), element]);
    return element;
  }

  /** A definition: it is known at the end whether something refers to it. */
  function target(key: string, raw: string, from: number, url: string, title = false): Element {
    const hidden = element("hidden", text(raw, from), { hidden: "definition" });
    targets.push({ key, hidden, url, title });
    return hidden;
  }

  function contents(node: Nodes & { children: Nodes[] }, depth: number): Part[] {
    const parts: Part[] = [];
    let at = startOf(node);
    for (const child of node.children) {
      parts.push(...gap(node, at, startOf(child)), ...build(child, node, depth + 1));
      at = endOf(child);
    }
    parts.push(...gap(node, at, endOf(node)));
    return parts;
  }

  /** Between two children of a node is markup. Anything else there is shown. */
  function gap(node: Nodes, from: number, to: number): Part[] {
    if (from >= to) return [];
    const raw = markdown.slice(from, to);
    if (raw.replace(MARKUP[node.type] ?? CONTAINER, "") === "") return [];
    if (node.type === "footnoteDefinition")
      return [target(`^${node.identifier}`, raw.trim(), from, footnoteHref(node.identifier))];
    return [shown(kindOfGap(node), raw.replace(/^\]/, "").trim(), from, to)];
  }

  function build(node: Nodes, parent: Nodes, depth: number): Part[] {
    const [start, end] = [startOf(node), endOf(node)];
    const raw = () => markdown.slice(start, end);
    const placed = (make: () => Element) => [block(start, end, make)];
    if ("children" in node && depth > MAX_DEPTH) return placed(() => element("source", text(raw(), start)));
    switch (node.type) {
      case "text":
        return text(node.value, start, end);
      case "inlineCode":
        return [element("code", text(node.value, start + (/^`+/.exec(raw())?.[0].length ?? 0), end))];
      case "break":
        return [element("br", [])];
      case "thematicBreak":
        return [element("hr", [])];
      case "heading":
        return placed(() => element(`h${node.depth}`, contents(node, depth)));
      case "paragraph":
        return placed(() => element("p", contents(node, depth)));
      case "blockquote":
      case "emphasis":
      case "strong":
      case "delete":
        return [element(TAGS[node.type], contents(node, depth))];
      case "code": {
        const info = [node.lang, node.meta].filter(Boolean).join(" ");
        const isFenced = /^(?:`{3}|~{3})/.test(raw());
        const from = isFenced ? Math.min(end, start + (raw() + "\n").indexOf("\n") + 1) : start;
        return placed(() => {
          if (info === "") return element("pre", text(node.value, from, end));
          const note = node.meta
            ? shown("code information", info, start, from)
            : element("note", text(info, start, from));
          return element("pre", [note, ...text(node.value, from, end)]);
        });
      }
      case "html": {
        const html = () => shown(node.value.startsWith("<!--") ? "comment" : "HTML", node.value, start, end);
        return BLOCKS.has(parent.type) ? placed(() => element("p", [html()])) : [html()];
      }
      case "link":
        return [element("a", contents(node, depth), { href: node.url })];
      case "linkReference":
        return [reference(node.identifier, element("a", contents(node, depth)))];
      case "image":
        return [
          element("picture", [shown("picture", raw(), start)], { href: node.url, alt: node.alt ?? "" }),
        ];
      case "imageReference":
        return [
          reference(
            node.identifier,
            element("picture", [shown("picture", raw(), start)], { alt: node.alt ?? "" }),
          ),
        ];
      case "definition":
        return placed(() =>
          element("p", [target(node.identifier, raw(), start, node.url, Boolean(node.title))]),
        );
      case "footnoteReference":
        return [reference(`^${node.identifier}`, element("a", text(raw(), start)))];
      case "footnoteDefinition":
        return [element("footnote", contents(node, depth), { id: footnoteHref(node.identifier).slice(1) })];
      case "list":
        return [element(node.ordered ? "ol" : "ul", numbered(contents(node, depth)))];
      case "listItem":
        return [listItem(node, parent, depth)];
      case "table":
        if ((node.align?.length ?? 0) > MAX_COLUMNS)
          return placed(() => element("source", text(raw(), start)));
        return [element("table", contents(node, depth))];
      case "tableRow":
        return placed(() => element("tr", cells(contents(node, depth), parent)));
      case "tableCell":
        return [element("td", contents(node, depth))];
      default:
        return [shown("other", raw(), start)];
    }
  }

  function listItem(node: ListItem, list: Nodes, depth: number): Element {
    const number = /^\d+/.exec(markdown.slice(startOf(node), startOf(node) + 9))?.[0] ?? "";
    told += number + (node.checked ? "xX" : "");
    const isTight = list.type === "list" && !list.spread && list.children.every(({ spread }) => !spread);
    const parts = contents(node, depth);
    return element(
      "li",
      isTight ? parts.map((part) => (isParagraph(part) ? { ...part, tag: "line" } : part)) : parts,
      {
        ...(number !== "" && { number: Number(number) }),
        ...(typeof node.checked === "boolean" && { checked: node.checked }),
      },
    );
  }

  /** The cells of a row. Those that have no header are left out elsewhere. */
  function cells(row: Part[], table: Nodes): Part[] {
    const align = table.type === "table" ? (table.align ?? []) : [];
    return row.map((cell, column) => {
      if (typeof cell === "string") return cell;
      if (column >= align.length) {
        count("cell");
        return { ...cell, hidden: "cell" };
      }
      return align[column] ? { ...cell, align: align[column] } : cell;
    });
  }
}

function kindOfGap(node: Nodes): Hidden {
  switch (node.type) {
    case "link":
      return node.title ? "title" : "address";
    case "linkReference":
      return "label";
    default:
      return "other";
  }
}

/** If all items of a list have the same number, only the first one counts: it is how people save themselves the counting. */
function numbered(items: Part[]): Part[] {
  const [first, ...rest] = items.filter((item) => typeof item !== "string");
  if (first?.number === undefined || rest.length === 0 || rest.some(({ number }) => number !== first.number))
    return items;
  let number = first.number;
  return items.map((item) => (typeof item === "string" ? item : { ...item, number: number++ }));
}

function isParagraph(part: Part): part is Element {
  return typeof part !== "string" && part.tag === "p";
}

function startOf({ position }: Nodes): number {
  return position?.start.offset ?? 0;
}

function endOf({ position }: Nodes): number {
  return position?.end.offset ?? 0;
}

function footnoteHref(identifier: string): string {
  return `#user-content-fn-${encodeURIComponent(identifier)}`;
}

const ENTITIES = /&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});/g;
// White space, and what Markdown may use as markup.
const NO_TEXT = /[\s!"#&'()*+\-.:;<=>[\\\]^_`|~]/g;

/** Whether everything that was told has the letters, digits and signs of the source, in their order. */
function isComplete(source: string, told: string): boolean {
  let at = 0;
  for (const sign of source.replace(ENTITIES, "").replace(NO_TEXT, "")) {
    at = told.indexOf(sign, at) + sign.length;
    if (at < sign.length) return false;
  }
  return true;
}

export interface Heading {
  id: string;
  level: number;
  text: string;
}

/** The document's headings, and its blocks with GitHub's ids, so that its own links to its headings work. */
export function outline(blocks: Element[]): { blocks: Element[]; headings: Heading[] } {
  const slugger = new GithubSlugger();
  const headings: Heading[] = [];
  const named = blocks.map((block) => {
    const level = /^h([1-6])$/.exec(block.tag)?.[1];
    if (level === undefined || block.change === "removed") return block;
    const text = textOf(block).replace(/\s+/g, " ").trim();
    const id = `user-content-${slugger.slug(text)}`;
    headings.push({ id, level: Number(level), text });
    return { ...block, id };
  });
  return { blocks: named, headings };
}

/** What is rendered of a part, without what a usual rendering leaves out. */
function textOf(part: Part): string {
  if (typeof part === "string") return part;
  return part.hidden === undefined ? part.children.map(textOf).join("") : "";
}
