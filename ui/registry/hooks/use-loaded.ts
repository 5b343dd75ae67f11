import { useEffect, useEffectEvent, useState } from "react";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";

interface Known<Value> {
  key: string;
  data?: Value;
  error?: ErrorCode;
}

/** A value from Supabase, loaded once for each `key`, and not at all without `load`. */
export function useLoaded<Value>(key: string, load: (() => Promise<Value>) | undefined) {
  const [known, setKnown] = useState<Known<Value>>();
  const [round, setRound] = useState(0);
  const isWanted = load !== undefined;
  const onLoad = useEffectEvent(() => load?.() ?? Promise.reject(new TypeError("Nothing to load")));
  useEffect(() => {
    if (!isWanted) return;
    let isCurrent = true;
    onLoad().then(
      (data) => {
        if (isCurrent) setKnown({ key, data });
      },
      (error: unknown) => {
        // Without https, the browser computes no hash.
        if (isCurrent) setKnown({ key, error: isSecureContext ? errorCode(error) : "insecure_context" });
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [key, isWanted, round]);

  function retry() {
    setKnown(undefined);
    setRound((round) => round + 1);
  }

  const current = isWanted && known?.key === key ? known : undefined;
  return { data: current?.data, error: current?.error, retry };
}
