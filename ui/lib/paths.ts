/** A path within this app that somebody handed in: anything that could lead elsewhere becomes the start page. */
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
