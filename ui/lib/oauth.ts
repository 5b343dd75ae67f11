/** The id of an authorization request, of 32 letters and digits. supabase-js puts it into a path as it is. */
export const AUTHORIZATION_ID = /^[A-Za-z0-9]{1,64}$/;

/** What can go wrong with a request for access: what happened, and what to do. */
export const PROBLEMS = {
  gone: {
    title: "This request is over",
    text: "It has expired, it was answered already, or it belongs to another account. Go back to the planner and connect again.",
  },
  refused: {
    title: "This request cannot be answered",
    text: "It was answered already, or the planner asks for something that this app's sign-in does not support. Go back to the planner and connect again.",
  },
  signed_out: {
    title: "You are signed out",
    text: "Sign in again, then connect again from the planner.",
  },
  switched_off: {
    title: "Planners cannot connect here",
    text: "This app's Supabase project has no OAuth server, or it is switched off.",
  },
  unavailable: {
    title: "Sign-in is not available",
    text: "It is down or busy. Nothing was decided: try again in a moment.",
  },
  unsafe: {
    title: "This planner cannot be connected",
    text: "The address that it wants to return to is not safe to open. Nothing is sent to it.",
  },
  unknown: {
    title: "That did not work",
    text: "Something went wrong. Try again, and report it if it happens again.",
  },
} as const;

export type Problem = keyof typeof PROBLEMS;

interface Failure {
  name: string;
  code?: string | undefined;
  status?: number | undefined;
}

/** What an error of `supabase.auth.oauth` means. */
export function problemOf({ name, code, status = 0 }: Failure): Problem {
  if (name === "AuthRetryableFetchError" || status === 429 || status >= 500) return "unavailable";
  if (name === "AuthSessionMissingError" || status === 401 || status === 403) return "signed_out";
  if (code === "oauth_authorization_not_found" || code === "oauth_consent_not_found") return "gone";
  // A Supabase without an OAuth server knows no such path, and its answer is not Auth's.
  if (code === "feature_disabled" || status === 404 || name === "AuthUnknownError") return "switched_off";
  return status === 400 ? "refused" : "unknown";
}

/** Whether the browser may open it: the planner has chosen its scheme, and some run what follows in this page. */
export function mayOpen(url: string): boolean {
  return URL.canParse(url) && !UNSAFE.test(new URL(url).protocol);
}

const UNSAFE = /^(javascript|data|vbscript|blob|file|filesystem|view-source|feed|about):$/;

/** Where the browser goes after the decision, in words. */
export function destination(url: string): string {
  if (!URL.canParse(url)) return url;
  const { protocol, hostname, host } = new URL(url);
  if (!/^https?:$/.test(protocol)) return `a program on this device (${protocol}//)`;
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname) ? `a program on this device (${host})` : host;
}

const SCOPES: Partial<Record<string, string>> = {
  openid: "your id",
  email: "your email address",
  phone: "your phone number",
  profile: "your profile",
};

/** What the planner learns about the user, in words. The scopes of Supabase Auth limit nothing else. */
export function scopesInWords(scope: string): string {
  return scope
    .split(/\s+/)
    .map((name) => SCOPES[name] ?? name)
    .join(", ");
}
