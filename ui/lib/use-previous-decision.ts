import { getPreviousDecision, type Plan } from "greenlight-client";
import { useEffect, useState } from "react";
import { loadClient } from "@/lib/greenlight/load-client";

/** The version that a proposal is compared with. Undefined while it is not known, and if there is none: then nothing is marked. */
export function usePreviousDecision(plan: Plan | undefined): Plan | undefined {
  const [known, setKnown] = useState<{ id: string; base: Plan | null }>();
  const { id, user_id, session_id, version } = plan ?? {};
  useEffect(() => {
    if (id === undefined || user_id === undefined || session_id === undefined || version === undefined)
      return;
    let current = true;
    void loadClient()
      .then((client) => getPreviousDecision(client, { user_id, session_id, version }))
      // Without an answer, the whole document is there to read.
      .catch(() => null)
      .then((base) => {
        if (current) setKnown({ id, base });
      });
    return () => {
      current = false;
    };
  }, [id, user_id, session_id, version]);
  return known?.id === id ? (known?.base ?? undefined) : undefined;
}
