import { redirect } from "next/navigation";
import type { NextRequest } from "next/server";
import { safePath } from "@/lib/paths";
import { createClient } from "@/lib/supabase/server";

/** Signs in with the code of a link that this browser asked for: it has the code's verifier in a cookie. */
export async function GET(request: NextRequest) {
  const { searchParams } = request.nextUrl;
  const next = safePath(searchParams.get("next"));
  const { auth } = await createClient();
  const { error } = await auth.exchangeCodeForSession(searchParams.get("code") ?? "");
  // A path, because request.url names the host that the server listens on, which may differ from the visitor's.
  redirect(error ? `/sign-in?confirm=failed&next=${encodeURIComponent(next)}` : next);
}
