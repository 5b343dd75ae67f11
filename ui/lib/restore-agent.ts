import { deletedAgents, restoreAgent as restore } from "greenlight-client";
import { toast } from "sonner";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";

/** Restores a deleted agent and shows a toast. Returns false if it failed. */
export async function restoreAgent(id: string): Promise<boolean> {
  try {
    await restore(await loadClient(), id);
    toast.success("Agent restored");
    return true;
  } catch (error) {
    toast.error(errorMessage(errorCode(error)));
    return false;
  }
}

/** Restores the deleted agent of a planning session, if there is one. Returns false if it failed. */
export async function restoreAgentOf(sessionId: string): Promise<boolean> {
  try {
    const client = await loadClient();
    const deleted = (await deletedAgents(client)).find((agent) => agent.session_id === sessionId);
    if (deleted) await restore(client, deleted.id);
    return true;
  } catch (error) {
    toast.error(errorMessage(errorCode(error)));
    return false;
  }
}
