import { redirect } from "next/navigation";
import type { NextRequest } from "next/server";
import { safePath } from "@/lib/paths";
import { createClient } from "@/lib/supabase/server";

/** The target of the links in mails: with a code, or with a token hash and its type if the mail's template says so. */
export async function GET(request: NextRequest) {
  const { searchParams } = request.nextUrl;
  const next = safePath(searchParams.get("next"));
  const code = searchParams.get("code");
  const token_hash = searchParams.get("token_hash") ?? "";
  const type = searchParams.get("type") ?? "email";
  const { auth } = await createClient();
  const { error } = code
    ? await auth.exchangeCodeForSession(code)
    : await auth.verifyOtp({ type, token_hash });
  // A path, because request.url names the host that the server listens on, which may differ from the visitor's.
  redirect(error ? `/sign-in?confirm=failed&next=${encodeURIComponent(next)}` : next);
}
