import { GreenlightError } from "./errors";
import { isBlank, MAX_COMMENT_LENGTH } from "./plans";
import type { PlanComment } from "./types";

/** A part of a text, in the UTF-16 code units in which JavaScript counts: `text.slice(start, end)`. */
export interface Selection {
  start: number;
  end: number;
}

/**
 * A comment on a selected part of a document, as the decisions take it: its position in Unicode code points, and the
 * passage itself. `text` is the whole document as `decodeDocument` gives it. Half of a pair of surrogates is completed.
 */
export function commentOn(text: string, { start, end }: Selection, body: string): PlanComment {
  if (!(start >= 0 && start < end && end <= text.length)) throw invalid("The selection is not in the text.");
  const from = splitsPair(text, start) ? start - 1 : start;
  const exact = text.slice(from, splitsPair(text, end) ? end + 1 : end);
  const length = codePoints(exact);
  if (length > MAX_COMMENT_LENGTH) throw invalid("The passage has more than 4,000 characters.");
  if (isBlank(body) || codePoints(body) > MAX_COMMENT_LENGTH)
    throw invalid("A comment has 1 to 4,000 characters, not only white space.");
  const before = codePoints(text.slice(0, from));
  return { start: before, end: before + length, exact, body };
}

/** Where a comment's passage stands in a document's text; null if the document has anything else there. */
export function locateComment(
  text: string,
  { start, end, exact }: Pick<PlanComment, "start" | "end" | "exact">,
): Selection | null {
  let from = 0;
  for (let passed = 0; passed < start && from < text.length; passed++)
    from += splitsPair(text, from + 1) ? 2 : 1;
  const to = from + exact.length;
  return text.slice(from, to) === exact && !splitsPair(text, to) && codePoints(exact) === end - start
    ? { start: from, end: to }
    : null;
}

/**
 * The comments of a decision as one Markdown text, for the planner's model: each passage with its line, if `text` is the
 * document. What the human wrote, or the plan says, stands in a fence that is longer than any in it, so that it cannot end
 * its quotation. Null without comments. MCP's get_decision answers the same text.
 */
export function feedback(
  { comment, comments }: { comment: string | null; comments: readonly PlanComment[] | null },
  text?: string | null,
): string | null {
  const parts: string[] = [];
  if (comment !== null) parts.push("On the whole plan:", quote(comment));
  const ends = Array.from((text ?? "").matchAll(/\r\n|\r|\n/g), (found) => found.index + found[0].length);
  for (const [index, passage] of (comments ?? []).entries()) {
    const number = (index + 1).toString();
    const place = locateComment(text ?? "", passage);
    // A line break belongs to the line that it ends.
    const where = place
      ? `line ${(ends.filter((end) => end <= place.start).length + 1).toString()}`
      : "a passage that could not be found in the stored plan";
    parts.push(`${number}. On ${where}:`, quote(passage.exact), "the human writes:", quote(passage.body));
  }
  return parts.length > 0 ? parts.join("\n\n") : null;
}

function quote(text: string): string {
  const longest = Math.max(0, ...Array.from(text.matchAll(/`+/g), ([run]) => run.length));
  const fence = "`".repeat(Math.max(3, longest + 1));
  return `${fence}text\n${text}\n${fence}`;
}

/** Whether a position is between the two code units of one code point. */
function splitsPair(text: string, at: number): boolean {
  return at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff;
}

function codePoints(text: string): number {
  return Array.from(text).length;
}

function invalid(details: string): GreenlightError {
  return new GreenlightError("invalid_comments", { details });
}
