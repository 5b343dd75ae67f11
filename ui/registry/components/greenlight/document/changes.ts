import { diffArrays, diffLines, diffWordsWithSpace } from "diff";
import type { Element, Part } from "./markdown";

export interface Changes {
  added: number;
  removed: number;
}

// For a document. What is not compared by then is shown as replaced.
const TIMEOUT_MS = 1_000;
// Longer texts are compared as a whole: word by word is unreadable in a rewritten paragraph.
const LONGEST_TEXT = 4_000;
// How far to look for a block of the same kind.
const NEAR = 20;
/** What has blocks of its own, which are compared one by one. */
const CONTAINERS = new Set(["ul", "ol", "table", "blockquote"]);

/** Lines of a source that are in both versions, or in one of them. */
export interface Line {
  text: string;
  change?: "added" | "removed";
}

/** The source of a document, with the lines of an earlier one that are not in it any more. */
export function compareLines(from: string, to: string): Line[] {
  return (
    diffLines(from, to, { timeout: TIMEOUT_MS }) ?? [
      { value: from, removed: true, added: false },
      { value: to, added: true, removed: false },
    ]
  ).map(({ value, added, removed }) => ({
    text: value,
    ...(added && { change: "added" }),
    ...(removed && { change: "removed" }),
  }));
}

/** Marks in a rendered document what was added, and puts in what was removed from an earlier one. */
export function markChanges(from: Element[], to: Element[]): { blocks: Element[]; changes: Changes } {
  const changes = { added: 0, removed: 0 };
  const end = performance.now() + TIMEOUT_MS;
  return { blocks: compare(from, to), changes };

  function left(): number {
    return Math.max(0, end - performance.now());
  }

  function compare(from: Element[], to: Element[]): Element[] {
    const keys = (elements: Element[]) => elements.map((element) => JSON.stringify(element, withoutPlace));
    const [before, after] = [keys(from), keys(to)];
    let head = 0;
    while (head < before.length && head < after.length && before[head] === after[head]) head++;
    let tail = 0;
    const most = Math.min(before.length, after.length) - head;
    while (tail < most && before.at(-1 - tail) === after.at(-1 - tail)) tail++;

    const merged = to.slice(0, head);
    const middle = [before.length - tail, after.length - tail] as const;
    const parts = diffArrays(before.slice(head, middle[0]), after.slice(head, middle[1]), {
      timeout: left(),
    });
    let [old, now] = [head, head];
    let removed: Element[] = [];
    for (const part of parts ?? [
      { removed: true, added: false, count: middle[0] - head },
      { removed: false, added: true, count: middle[1] - head },
    ]) {
      if (part.removed) {
        removed.push(...from.slice(old, (old += part.count)));
        continue;
      }
      const next = to.slice(now, (now += part.count));
      if (part.added) {
        merged.push(...replace(removed, next));
      } else {
        merged.push(...removed.map(remove), ...next);
        old += part.count;
      }
      removed = [];
    }
    return [...merged, ...removed.map(remove), ...to.slice(middle[1])];
  }

  /** Blocks in the place of others. Those of the same kind are compared further: lists and tables item by item. */
  function replace(removed: Element[], added: Element[]): Element[] {
    const result: Element[] = [];
    let at = 0;
    for (const now of added) {
      const other = removed.slice(at, at + NEAR).findIndex((old) => old.tag === now.tag);
      const old = removed[at + other];
      if (other < 0 || !old) {
        result.push(add(now));
        continue;
      }
      result.push(...removed.slice(at, at + other).map(remove));
      at += other + 1;
      if (CONTAINERS.has(now.tag)) {
        result.push({ ...now, children: compare(old.children.map(asElement), now.children.map(asElement)) });
      } else {
        const [before, after] = markWords(old, now, left());
        result.push(remove(before), add(after));
      }
    }
    return [...result, ...removed.slice(at).map(remove)];
  }

  function add(element: Element): Element {
    changes.added++;
    return { ...element, change: "added" };
  }

  function remove(element: Element): Element {
    changes.removed++;
    // Its places are those of another document.
    return { ...(JSON.parse(JSON.stringify(element, withoutPlace)) as Element), change: "removed" };
  }
}

/** For JSON.stringify: a block is the same, wherever it stands. */
function withoutPlace(key: string, value: unknown): unknown {
  return key === "block" ? undefined : value;
}

function asElement(part: Part): Element {
  return typeof part === "string" ? { tag: "p", children: [part] } : part;
}

/** Marks the words that differ, if the texts have most of their words in common. */
function markWords(old: Element, now: Element, timeout: number): [Element, Element] {
  if (now.tag === "tr" && old.children.length === now.children.length) {
    const cells = now.children.map((cell, index) =>
      markWords(asElement(old.children[index] ?? ""), asElement(cell), timeout),
    );
    return [
      { ...old, children: cells.map(([before]) => before) },
      { ...now, children: cells.map(([, after]) => after) },
    ];
  }
  const [before, after] = [stringOf(old), stringOf(now)];
  if (timeout === 0 || before.length + after.length > LONGEST_TEXT) return [old, now];
  const words = diffWordsWithSpace(before, after, { timeout });
  const same = words
    ?.filter(({ added, removed }) => !added && !removed)
    .reduce((sum, { value }) => sum + value.length, 0);
  const isSimilar = (same ?? 0) * 3 >= Math.max(before.length, after.length);
  // Of a row, only the cells that differ are marked, however much they do.
  if (!words || !(isSimilar || now.tag === "td")) return [old, now];
  return [
    cut(
      old,
      words
        .filter(({ added }) => !added)
        .map(({ value, removed }) => ({ length: value.length, isMarked: removed })),
    ),
    cut(
      now,
      words
        .filter(({ removed }) => !removed)
        .map(({ value, added }) => ({ length: value.length, isMarked: added })),
    ),
  ];
}

/** Cuts the texts of an element at these lengths, and marks some of what comes out. */
function cut(element: Element, lengths: { length: number; isMarked: boolean }[]): Element {
  const rest = [...lengths];
  return inside(element);

  function inside(element: Element): Element {
    return {
      ...element,
      children: element.children.flatMap((part) => (typeof part === "string" ? split(part) : inside(part))),
    };
  }

  function split(text: string): Part[] {
    const parts: Part[] = [];
    while (text !== "" && rest[0]) {
      const { length, isMarked } = rest[0];
      const piece = text.slice(0, length);
      parts.push(isMarked ? { tag: "word", children: [piece] } : piece);
      text = text.slice(length);
      if (piece.length === length) rest.shift();
      else rest[0] = { length: length - piece.length, isMarked };
    }
    return parts;
  }
}

function stringOf(part: Part): string {
  return typeof part === "string" ? part : part.children.map(stringOf).join("");
}
