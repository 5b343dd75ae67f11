import { AuthError } from "@supabase/supabase-js";

/**
 * The session's cookies hold the tokens alone. The user, with all metadata a second and a third time, would make the
 * request's headers too long for the server: it answers 431 then, before the app is asked.
 */
export const encode = "tokens-only";

/** The names of the session's cookies: a long session has several, with numbers at the end. */
export const AUTH_COOKIE = /^sb-.+-auth-token/;

interface Cookie {
  name: string;
  value: string;
}

/** Whether the server would take these cookies back. */
export function fits(cookies: Cookie[], room: number): boolean {
  return cookies.reduce((sum, { name, value }) => sum + name.length + value.length + 3, 0) <= room;
}

/** Refuses cookies that would not fit. Supabase's client answers with this error, and keeps no session. */
export function assertRoom(cookies: Cookie[], room: number): void {
  if (!fits(cookies, room))
    throw new AuthError("The session is too large for cookies", 431, "session_too_large");
}

/** Whether the browser reached the app by https, also through a proxy that ends TLS. */
export function isHttps(headers: Headers): boolean {
  const [protocol = ""] = (headers.get("x-forwarded-proto") ?? "").split(",");
  return (
    protocol.trim() === "https" ||
    /^[^,]*proto="?https/i.test(headers.get("forwarded") ?? "") ||
    // A browser names it with each form, whatever the proxy passes on.
    (headers.get("origin") ?? "").startsWith("https:")
  );
}
