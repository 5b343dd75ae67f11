import { restoreAgent as restore } from "@/lib/greenlight/client";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { toast } from "./toasts";

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
