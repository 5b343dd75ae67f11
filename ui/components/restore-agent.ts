import { toast } from "sonner";
import { databaseErrorCode, explain } from "@/lib/errors";
import { createClient } from "@/lib/supabase/client";

/** Brings a deleted agent back, and says so. False if that was not possible. */
export async function restoreAgent(id: string): Promise<boolean> {
  const { error } = await createClient().rpc("restore_agent", { agent_id: id });
  if (error) toast.error(explain(databaseErrorCode(error)));
  else toast.success("Agent restored");
  return !error;
}
