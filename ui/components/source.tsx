import { memo, useMemo } from "react";
import { toView } from "@/lib/document";
import { Invisible } from "@/components/greenlight/plain-text";
import { visible } from "@/lib/greenlight/visible";

// The browser lays out only the pieces that are on the screen.
const PIECE = 4_000;
// Further marks are text: a million elements would stop the page.
const MAX_MARKS = 2_000;

/** A document as it was written. What cannot be seen in it has a name here, too. */
export const Source = memo(function Source({ content }: { content: string }) {
  const pieces = useMemo(() => cut(toView(content)), [content]);
  let marks = 0;
  return (
    <div className="source" role="region" aria-label="Source" tabIndex={0}>
      {pieces.map((piece, index) => (
        <div key={index} className="source-piece">
          {visible(piece).map((part, at) => {
            if (typeof part === "string") return part;
            return ++marks > MAX_MARKS ? `⟨${part.mark}⟩` : <Invisible key={at}>{part.mark}</Invisible>;
          })}
        </div>
      ))}
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
