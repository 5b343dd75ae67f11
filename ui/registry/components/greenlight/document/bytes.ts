/**
 * The bytes that are hashed and stored are the bytes that were opened, except for the user's edits. A text area cannot
 * keep them (it turns every line break into a line feed). So it shows a view of the document, and edits of the view are
 * merged into the original.
 */

const BOM = "\uFEFF";
const LINE = /[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g;

export function encode(content: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(content);
}

/** The document as a text area shows it: no byte order mark, every line break a line feed. */
export function toView(content: string): string {
  const text = content.startsWith(BOM) ? content.slice(1) : content;
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/**
 * The document after an edit of its view. Lines that were not touched keep the line breaks they had; new ones get the
 * kind that the document uses most. A byte order mark stays.
 */
export function applyEdit(content: string, view: string): string {
  if (toView(content) === view) return content;
  const mark = content.startsWith(BOM) ? BOM : "";
  if (!content.includes("\r")) return mark + view;

  const before = lines(content.slice(mark.length));
  const after = lines(view);
  let head = 0;
  const most = Math.min(before.length, after.length);
  while (head < most && same(before[head], after[head])) head++;
  let tail = 0;
  while (tail < most - head && same(before.at(-1 - tail), after.at(-1 - tail))) tail++;

  const lineBreak = commonLineBreak(content);
  const merged = [
    mark,
    ...before.slice(0, head),
    ...after.slice(head, after.length - tail).map((line) => line.replace("\n", lineBreak)),
    ...before.slice(before.length - tail),
  ].join("");
  // If kinds are mixed, a CR and an LF can become neighbours, and so one line break. Then use one kind for all.
  return toView(merged) === view ? merged : mark + view.replaceAll("\n", lineBreak);
}

/** The kind of the document's line breaks, for display. */
export function lineEndings(content: string): "LF" | "CRLF" | "CR" | "mixed" {
  const kinds = new Set(content.match(/\r\n|\r|\n/g));
  if (kinds.size > 1) return "mixed";
  return kinds.has("\r\n") ? "CRLF" : kinds.has("\r") ? "CR" : "LF";
}

export function hasByteOrderMark(content: string): boolean {
  return content.startsWith(BOM);
}

function lines(text: string): string[] {
  return text.match(LINE) ?? [];
}

function same(original: string | undefined, viewed: string | undefined): boolean {
  return original !== undefined && original.replace(/\r\n?$/, "\n") === viewed;
}

function commonLineBreak(text: string): string {
  const crlf = text.match(/\r\n/g)?.length ?? 0;
  const cr = (text.match(/\r/g)?.length ?? 0) - crlf;
  const lf = (text.match(/\n/g)?.length ?? 0) - crlf;
  return crlf >= cr && crlf >= lf ? "\r\n" : cr > lf ? "\r" : "\n";
}

/** Where a position in the view is in the document. */
export function fromView(content: string): (at: number) => number {
  const mark = content.startsWith(BOM) ? BOM.length : 0;
  // How many line breaks of two characters are before.
  const breaks = Array.from(content.matchAll(/\r\n/g), ({ index }, count) => index - mark - count);
  return (at) => mark + at + countBelow(breaks, at);
}

/** Where a position in the document is in its view. */
export function inView(content: string): (at: number) => number {
  const mark = content.startsWith(BOM) ? BOM.length : 0;
  const breaks = Array.from(content.matchAll(/\r\n/g), ({ index }) => index + 1);
  return (at) => Math.max(0, at - mark - countBelow(breaks, at));
}

/** How many of these ascending numbers are below one. */
function countBelow(numbers: number[], limit: number): number {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] ?? limit) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
