import type { Selection } from "@/lib/greenlight/client";

/** Where a block of text stands in the source that was rendered, and the runs of its text that read there as they are shown. */
export interface Place {
  start: number;
  end: number;
  /** In order. */
  runs: Run[];
}

export interface Run {
  /** In the text that is shown of the block. */
  at: number;
  source: number;
  length: number;
}

/** A position in what is shown: the number of a place, and how much of its text is before. */
export interface Point {
  block: number;
  at: number;
}

const REFERENCE = /&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});/y;

/**
 * Finds a text in the source between these positions, piece by piece. What Markdown leaves out or writes differently (an
 * escape, an entity, the mark of a quotation) ends a run.
 */
export function aligner(markdown: string, from: number, to: number): (text: string, at: number) => Run[] {
  const raw = markdown.slice(from, to);
  let next = 0;
  return (text, at) => {
    const runs: Run[] = [];
    let index = 0;
    while (index < text.length && next < raw.length) {
      const [begin, source] = [index, next];
      while (index < text.length && raw[next] === text[index] && !isReference(text, index)) {
        index++;
        next++;
      }
      if (index > begin) runs.push({ at: at + begin, source: from + source, length: index - begin });
      if (index === text.length || next === raw.length) break;
      if (isReference(text, index)) {
        next = REFERENCE.lastIndex;
        index++;
      } else if (raw[next] === "\n" && text[index] === " ") {
        // In code, a line break is shown as a space.
        next++;
        index++;
      } else {
        const found = raw.indexOf(text.charAt(index), next);
        if (found < 0) index++;
        else next = found;
      }
    }
    return runs;
  };

  /** Whether an entity stands in the source, and not in the text. */
  function isReference(text: string, index: number): boolean {
    if (raw[next] !== "&") return false;
    REFERENCE.lastIndex = next;
    const [reference] = REFERENCE.exec(raw) ?? [];
    if (reference === undefined || text.startsWith(reference, index)) return false;
    REFERENCE.lastIndex = next + reference.length;
    return true;
  }
}

/**
 * The part of the source that was selected: exactly that, if it reads there as it is shown. Else there is markup in it,
 * and it is all of its blocks.
 */
export function passageOf(places: readonly Place[], from: Point, to: Point): Selection | null {
  const [first, last] = [places[from.block], places[to.block]];
  if (!first || !last) return null;
  const run = first.runs.find(({ at, length }) => at <= from.at && from.at < at + length);
  if (run && from.block === to.block && from.at < to.at && to.at <= run.at + run.length)
    return { start: run.source + from.at - run.at, end: run.source + to.at - run.at };
  return { start: first.start, end: last.end };
}

/** Where a part of the source is shown: the parts of blocks, in their order. */
export function shownAt(
  places: readonly Place[],
  { start, end }: Selection,
): { block: number; from: number; to: number }[] {
  return places.flatMap((place, block) => {
    if (place.end <= start || end <= place.start) return [];
    const inside = place.runs.find(({ source, length }) => source <= start && end <= source + length);
    if (!inside) return [{ block, from: 0, to: Infinity }];
    const from = inside.at + start - inside.source;
    return [{ block, from, to: from + end - start }];
  });
}
