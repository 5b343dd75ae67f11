import { useState } from "react";
import { useLoaded } from "@/hooks/use-loaded";
import { getBuildLog } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";

/** What an attempt at a build wrote. It is loaded again when it changed; until then, what is known is shown. */
export function useBuildLog(buildId: string, attempt: number, updatedAt: string) {
  const { data, error, retry } = useLoaded(`${buildId} ${attempt} ${updatedAt}`, () =>
    load(buildId, attempt),
  );
  const [known, setKnown] = useState(data);
  if (data && data !== known) setKnown(data);
  return { pieces: data ?? known, error, retry };
}

async function load(buildId: string, attempt: number) {
  // Its code is loaded with the first log: most visits look at none.
  const [{ readLog }, log] = await Promise.all([
    import("./ansi"),
    loadClient().then((client) => getBuildLog(client, buildId, attempt)),
  ]);
  return readLog(log?.content ?? "");
}
