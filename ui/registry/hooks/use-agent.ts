import { useState } from "react";
import { agentMarks, type Supabase } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadAgent, type ShownAgent } from "@/lib/greenlight/load-agent";
import { loadClient } from "@/lib/greenlight/load-client";
import { useWatch } from "./use-watch";

export type AgentState = ReturnType<typeof useAgent>;

/**
 * An agent, kept up to date: undefined while it is loaded for the first time, null if it does not exist, or is another
 * user's. `initial` is what the server has loaded.
 */
export function useAgent(agentId: string, initial?: ShownAgent) {
  const [busy, setBusy] = useState(false);
  const {
    value: agent,
    reload,
    error,
  } = useWatch<ShownAgent | null | undefined>(
    initial,
    async () => loadAgent(await loadClient(), agentId),
    () => ({ agentIds: [agentId] }),
    agentMarks,
  );

  /** Calls a function of the client for this agent, and shows what came of it. Returns the code of the error, if any. */
  async function act(
    call: (supabase: Supabase, id: string) => Promise<unknown>,
  ): Promise<ErrorCode | undefined> {
    setBusy(true);
    try {
      await call(await loadClient(), agentId);
    } catch (error) {
      return errorCode(error);
    } finally {
      await reload();
      setBusy(false);
    }
    return undefined;
  }

  return { agent, error, busy, act };
}
