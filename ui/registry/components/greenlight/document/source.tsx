import { memo, use, useMemo } from "react";
import { Invisible } from "@/components/greenlight/plain-text";
import { visible } from "@/lib/greenlight/visible";
import { cn } from "@/lib/utils";
import { toView } from "./bytes";
import type { Line } from "./changes";
import { DocumentTextsContext } from "./texts";

// The browser lays out only the pieces that are on the screen.
const PIECE = 4_000;
// Further marks are text: a million elements would stop the page.
const MAX_MARKS = 2_000;

interface Props {
  content: string;
  /** With the lines of an earlier version, to mark what has changed. */
  lines?: Line[] | undefined;
}

/** A document as it was written. What cannot be seen in it has a name here, too. */
export const Source = memo(function Source({ content, lines }: Props) {
  const texts = use(DocumentTextsContext);
  const pieces = useMemo(
    () =>
      (lines ?? [{ text: toView(content) }]).flatMap(({ text, change }: Line) =>
        cut(text).map((piece) => ({ piece, change })),
      ),
    [content, lines],
  );
  let marks = 0;
  return (
    <div
      className="overflow-hidden rounded-lg border bg-card px-4 py-3.5 font-mono text-[13.5px]/[1.65] [overflow-wrap:anywhere] whitespace-pre-wrap [tab-size:4]"
      role="region"
      aria-label={texts.source}
      tabIndex={0}
    >
      {pieces.map(({ piece, change }, index) => {
        const Piece = change === undefined ? "div" : change === "added" ? "ins" : "del";
        return (
          <Piece
            key={index}
            className={cn(
              "block [contain-intrinsic-block-size:auto_1500px] [content-visibility:auto] [unicode-bidi:plaintext]",
              change && "-mx-4 border-l-3 px-[13px] no-underline",
              change === "added" && "border-success bg-success/10",
              change === "removed" &&
                "border-destructive bg-destructive/10 line-through decoration-destructive/55",
            )}
          >
            {visible(piece).map((part, at) => {
              if (typeof part === "string") return part;
              return ++marks > MAX_MARKS ? `⟨${part.mark}⟩` : <Invisible key={at}>{part.mark}</Invisible>;
            })}
          </Piece>
        );
      })}
    </div>
  );
});

/** At the ends of lines, if there are any: a line that is longer than a piece is cut. */
function cut(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length;) {
    let end = at + PIECE;
    if (end < text.length) {
      const line = text.slice(at, end).lastIndexOf("\n");
      if (line > 0) end = at + line + 1;
      // Not through a character.
      else if (/[\uDC00-\uDFFF]/.test(text.charAt(end))) end++;
    }
    pieces.push(text.slice(at, end));
    at = end;
  }
  return pieces;
}
