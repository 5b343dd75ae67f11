import { createBrowserClient } from "@supabase/ssr";
import type { Database } from "greenlight-client";
import { publicEnv } from "../public-env";

/** The Supabase client of the signed-in user, in the browser: one for the page. */
export function createClient() {
  const { supabaseUrl, supabaseKey } = publicEnv();
  return createBrowserClient<Database>(supabaseUrl, supabaseKey);
}
