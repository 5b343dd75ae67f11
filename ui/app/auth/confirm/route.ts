import { NextResponse, type NextRequest } from "next/server";
import { safePath } from "@/lib/paths";
import { createClient } from "@/lib/supabase/server";

/** Where the link in a confirmation mail leads: with a code, or with a token hash if the mail's template says so. */
export async function GET(request: NextRequest) {
  const { searchParams } = request.nextUrl;
  const next = safePath(searchParams.get("next"));
  const code = searchParams.get("code");
  const tokenHash = searchParams.get("token_hash");
  const { auth } = await createClient();
  const { error } = code
    ? await auth.exchangeCodeForSession(code)
    : await auth.verifyOtp({ type: "email", token_hash: tokenHash ?? "" });
  const path = error ? `/sign-in?confirm=failed&next=${encodeURIComponent(next)}` : next;
  return NextResponse.redirect(new URL(path, request.url));
}
