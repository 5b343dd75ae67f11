import { useEffect, useState } from "react";
import { read } from "./read";
import type { Read, Unreadable } from "./reader.worker";

// After this time the page shows what there is: the source, or the rendering without the changes.
const PATIENCE_MS = 700;
const LIMIT_MS = 15_000;

/** A document as it is shown: rendered, or as its source, and why. */
export type Reading = Read | { source: Unreadable | "waiting" };

/** Renders a document, and marks what has changed since `base`. Undefined for the first moment. */
export function useReading(content: string | undefined, base: string | undefined): Reading | undefined {
  const [known, setKnown] = useState<{ content: string; reading: Reading }>();
  useEffect(() => {
    if (content === undefined) return;
    let unmarked: Read | undefined;
    const patience = setTimeout(() => {
      const reading = unmarked ?? ({ source: "waiting" } as const);
      setKnown((known) => (known?.content === content ? known : { content, reading }));
    }, PATIENCE_MS);
    const stop = read(content, base, LIMIT_MS, ({ reading, more }) => {
      if (more && typeof reading !== "string") {
        unmarked = reading;
        return;
      }
      clearTimeout(patience);
      setKnown({
        content,
        reading: typeof reading === "string" ? (unmarked ?? { source: reading }) : reading,
      });
    });
    return () => {
      clearTimeout(patience);
      stop();
    };
  }, [content, base]);
  return known?.content === content ? known?.reading : undefined;
}
