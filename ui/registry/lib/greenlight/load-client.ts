/** The browser's Supabase client, loaded on demand: reading and editing a draft needs none. */
export async function loadClient() {
  return (await import("@/lib/supabase/client")).createClient();
}
