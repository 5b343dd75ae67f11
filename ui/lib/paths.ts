const BASE = "http://base.invalid";

/** Where a planning session is reviewed: the user's own, or its owner's. */
export function reviewOf(sessionId: string, owner?: string): string {
  return `/build?session=${sessionId}${owner ? `&user=${owner}` : ""}`;
}

/** A path within this app from an untrusted source: anything that could lead elsewhere becomes the start page. */
export function safePath(path: string | null | undefined, fallback = "/agents"): string {
  // The browser's own parser decides: it drops control characters, and reads "\\" as "/" and "%2e" as ".".
  if (!path?.startsWith("/") || !URL.canParse(path, BASE)) return fallback;
  const url = new URL(path, BASE);
  const result = url.pathname + url.search + url.hash;
  // The browser reads the result again, and what is left of "/.//host" is "//host".
  return url.origin === BASE && URL.canParse(result, BASE) && new URL(result, BASE).href === url.href
    ? result
    : fallback;
}
