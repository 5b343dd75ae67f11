import { sha256 } from "@/lib/greenlight/client";
import { useEffect, useState } from "react";

/** The SHA-256 of a document's bytes; undefined while it is being computed, and if the browser cannot compute it. */
export function useSha256(content: string | undefined): string | undefined {
  const [known, setKnown] = useState<{ content: string; hash: string }>();
  useEffect(() => {
    let current = true;
    if (content !== undefined && "subtle" in crypto)
      void sha256(content).then((hash) => {
        if (current) setKnown({ content, hash });
      });
    return () => {
      current = false;
    };
  }, [content]);
  return known && known.content === content ? known.hash : undefined;
}
