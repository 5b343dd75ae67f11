import { createBrowserClient } from "@supabase/ssr";
import type { Database } from "greenlight-client";
import { publicEnv } from "../public-env";

/** Supabase as the signed-in user, in the browser: one client for the page. */
export function createClient() {
  const { supabaseUrl, supabaseKey } = publicEnv();
  return createBrowserClient<Database>(supabaseUrl, supabaseKey);
}
