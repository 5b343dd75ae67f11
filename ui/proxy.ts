import type { NextRequest } from "next/server";
import { env } from "./lib/env";
import { updateSession } from "./lib/supabase/proxy";

/** Runs before every page: refreshes the session, and sets a content security policy with a new nonce. */
export async function proxy(request: NextRequest) {
  const nonce = btoa(crypto.randomUUID());
  const policy = contentSecurityPolicy(nonce);
  const headers = new Headers(request.headers);
  headers.set("x-nonce", nonce);
  // Next reads the nonce for its own scripts from here.
  headers.set("content-security-policy", policy);
  const response = await updateSession(request, headers);
  response.headers.set("content-security-policy", policy);
  return response;
}

function contentSecurityPolicy(nonce: string) {
  const development = process.env.NODE_ENV === "development";
  return [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${development ? " 'unsafe-eval'" : ""}`,
    // Toasts insert a <style> element.
    "style-src 'self' 'unsafe-inline'",
    // A document's pictures, once the reader asks for them.
    "img-src 'self' data: https:",
    "font-src 'self'",
    // Documents are parsed there.
    "worker-src 'self'",
    `connect-src 'self' ${new URL(env.NEXT_PUBLIC_SUPABASE_URL).origin}`,
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}

// Not before files: r/ has the registry's blocks, which others add to their apps.
export const config = {
  matcher: ["/((?!_next/static|_next/image|favicon.ico|icon.svg|r/[a-z-]+\\.json$).*)"],
};
