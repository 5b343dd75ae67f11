/** A piece of a text: as it is, or the name of characters that cannot be seen, and what they are. */
export type Piece = string | { mark: string; hidden: string };

// Characters without a shape: format characters, tags, variation selectors, controls, fillers, what Unicode has not
// assigned. A line feed and a tab are white space.
const INVISIBLE = String.raw`[[\p{DI}\p{Cf}\p{Cc}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u2800]--[\t\n]]+`;
// White space that pushes what follows it out of sight, and accents that are stacked over other lines.
const SPACES = String.raw`[ \t]{80,}|[\p{Zs}--[ ]]{2,}`;
const LINES = String.raw`\n(?:[ \t]*\n){4,}`;
const STACKED = String.raw`\p{M}{5,}`;

const HIDDEN = new RegExp(`${INVISIBLE}|${SPACES}|${LINES}|${STACKED}`, "gv");
const BLANK = /^\s+$/u;

/**
 * Cuts a text into what can be seen as it is, and names for what cannot: invisible characters, and white space that is
 * so long that it hides what follows.
 */
export function visible(text: string): Piece[] {
  // White space alone, like a paragraph of no-break spaces.
  if (BLANK.test(text) && /[^ \t\n]/.test(text)) return [{ mark: nameOf(text), hidden: text }];
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: run, index } of text.matchAll(HIDDEN)) {
    if (isEmoji(text, index, run)) continue;
    if (index > at) pieces.push(text.slice(at, index));
    pieces.push({ mark: nameOf(run), hidden: run });
    at = index + run.length;
  }
  if (at < text.length) pieces.push(text.slice(at));
  return pieces;
}

/** The same in one text, where no element can be: a page's title, an option. */
export function visibleText(text: string): string {
  return visible(text)
    .map((piece) => (typeof piece === "string" ? piece : `⟨${piece.mark}⟩`))
    .join("");
}

/** Whether the run is the selector or the joiner that makes an emoji of what stands around it. */
function isEmoji(text: string, index: number, run: string): boolean {
  if (!/^\uFE0F?\u200D?$/.test(run)) return false;
  const before = text.slice(Math.max(0, index - 2), index);
  const after = text.slice(index + run.length, index + run.length + 2);
  if (/[#*\d]$/.test(before)) return run === "\uFE0F" && after.startsWith("\u20E3");
  return (
    /(?:\p{Extended_Pictographic}|\p{Emoji_Modifier})$/u.test(before) &&
    (!run.endsWith("\u200D") || /^\p{Extended_Pictographic}/u.test(after))
  );
}

function nameOf(run: string): string {
  if (run.startsWith("\n") && run.trim() === "") return `${run.split("\n").length - 2} empty lines`;
  if (/^[ \t]+$/.test(run)) return `${run.length} spaces`;
  const names: { name: string; times: number }[] = [];
  // Tags are ASCII in disguise.
  const tags = /[\u{E0020}-\u{E007E}]+|[^]/gu;
  for (const [part] of run.matchAll(tags)) {
    const code = part.codePointAt(0) ?? 0;
    const name =
      code >= 0xe0020 && code <= 0xe007e
        ? `tags “${Array.from(part, (tag) => String.fromCharCode((tag.codePointAt(0) ?? 0) - 0xe0000)).join("")}”`
        : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
    const last = names.at(-1);
    if (last?.name === name) last.times++;
    else names.push({ name, times: 1 });
  }
  return names.map(({ name, times }) => (times === 1 ? name : `${name} ×${times}`)).join(" ");
}
