import { deletedAgents, restoreAgent } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";

/** Restores the deleted agent of a user's planning session, if there is one. */
export async function restoreAgentOf(userId: string, sessionId: string): Promise<void> {
  const client = await loadClient();
  const deleted = (await deletedAgents(client)).find(
    (agent) => agent.user_id === userId && agent.session_id === sessionId,
  );
  if (deleted) await restoreAgent(client, deleted.id);
}
