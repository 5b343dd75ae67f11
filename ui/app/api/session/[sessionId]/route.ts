import { loadSession } from "@/lib/agents";
import { createClient } from "@/lib/supabase/server";

/** The agent of a planning session, or null. Asked of here, so that reading a plan takes no Supabase client. */
export async function GET(_: Request, { params }: { params: Promise<{ sessionId: string }> }) {
  const supabase = await createClient();
  const { data } = await supabase.auth.getClaims();
  if (!data) return new Response(null, { status: 401 });
  return Response.json(await loadSession(supabase, (await params).sessionId), {
    headers: { "Cache-Control": "no-store" },
  });
}
