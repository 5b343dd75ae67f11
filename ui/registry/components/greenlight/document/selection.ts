import type { Point } from "./passage";

const BLOCK = "[data-block]";

/** The block of text that an element is, or is in. */
export function blockOf(node: Node | null): HTMLElement | null {
  const element = node instanceof Element ? node : node?.parentElement;
  return element?.closest<HTMLElement>(BLOCK) ?? null;
}

export function numberOf(block: HTMLElement): number {
  return Number(block.dataset.block);
}

export function findBlock(article: Element, number: number): HTMLElement | null {
  return article.querySelector<HTMLElement>(`[data-block="${number.toString()}"]`);
}

/** The texts of the document in a part of the page, without those of what can be pressed. */
function* textsIn(root: Node): Generator<Text> {
  const walker = root.ownerDocument?.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker?.nextNode(); node; node = walker?.nextNode())
    if (!node.parentElement?.closest("button, [data-aside]")) yield node as Text;
}

/** Where a selection begins and ends in a document; null if it has no text of it. */
export function selectedPoints(range: Range, article: HTMLElement): { from: Point; to: Point } | null {
  const common = range.commonAncestorContainer;
  const root = !article.contains(common)
    ? article
    : common instanceof Text
      ? (common.parentElement ?? common)
      : common;
  let from: Point | undefined;
  let to: Point | undefined;
  for (const text of textsIn(root)) {
    if (!range.intersectsNode(text)) continue;
    const start = text === range.startContainer ? range.startOffset : 0;
    const end = text === range.endContainer ? range.endOffset : text.length;
    const block = blockOf(text);
    if (start >= end || !block) continue;
    const at = lengthBefore(block, text);
    from ??= { block: numberOf(block), at: at + start };
    to = { block: numberOf(block), at: at + end };
  }
  return from && to ? { from, to } : null;
}

function lengthBefore(block: HTMLElement, end: Text): number {
  let length = 0;
  for (const text of textsIn(block)) {
    if (text === end) break;
    length += text.length;
  }
  return length;
}

/** The part of the page that shows a part of a block's text. */
export function rangeIn(block: HTMLElement, from: number, to: number): Range {
  const range = block.ownerDocument.createRange();
  range.selectNodeContents(block);
  let at = 0;
  for (const text of textsIn(block)) {
    const end = at + text.length;
    if (at <= from && from < end) range.setStart(text, from - at);
    if (at < to && to <= end) range.setEnd(text, to - at);
    at = end;
  }
  return range;
}
