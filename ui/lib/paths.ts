/** The id of a planning session, as the database accepts it. */
export const SESSION_ID = /^[A-Za-z0-9_-]{1,128}$/;

/** A new planning session's id. crypto.randomUUID would need a secure context. */
export function newSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** A path within this app from an untrusted source: anything that could lead elsewhere becomes the start page. */
export function safePath(path: string | null | undefined, fallback = "/agents"): string {
  if (!path) return fallback;
  try {
    // The browser's own parser decides: "//host", "/\host" and "https:host" all leave the base.
    const url = new URL(path, "http://base.invalid");
    return url.origin === "http://base.invalid" && path.startsWith("/")
      ? url.pathname + url.search + url.hash
      : fallback;
  } catch {
    return fallback;
  }
}
