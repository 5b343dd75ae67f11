// JavaScript, because next.config.js imports it, too.

export const PUBLISHED = "This is not a publishable key or address, and the browser would see it";

/**
 * The role that a Supabase API key stands for, or null if the key does not tell. The service has the same rule in
 * service/greenlight/keys.py; both are tested with tests/keys.json.
 *
 * @param {string} key
 * @returns {string | null}
 */
export function roleOf(key) {
  if (/^sb_publishable_[\w-]+$/.test(key)) return "anon";
  if (/^sb_secret_[\w-]+$/.test(key)) return "service_role";
  // The older keys are JWTs. Supabase verifies them; here it matters only which one was given.
  const claims = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(key)?.[1];
  if (claims === undefined) return null;
  try {
    const bytes = Uint8Array.from(atob(claims.replaceAll("-", "+").replaceAll("_", "/")), (byte) =>
      byte.charCodeAt(0),
    );
    /** @type {unknown} */
    const read = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    const role = typeof read === "object" && read !== null && "role" in read ? read.role : null;
    return typeof role === "string" ? role : null;
  } catch {
    return null;
  }
}

/**
 * Whether every visitor may see this key. A key that does not tell its role is taken for a secret.
 *
 * @param {string} key
 */
export function isPublishable(key) {
  return roleOf(key) === "anon";
}

/** @param {string} address */
export function hasPassword(address) {
  return URL.canParse(address) && new URL(address).password !== "";
}

/**
 * The names of the variables that Next may publish, and that hold a secret.
 *
 * @param {Record<string, string | undefined>} variables
 */
export function publishedSecrets(variables) {
  return Object.entries(variables).flatMap(([name, value]) =>
    name.startsWith("NEXT_PUBLIC_") && value && isSecret(name, value) ? [name] : [],
  );
}

/**
 * @param {string} name
 * @param {string} value
 */
function isSecret(name, value) {
  if (name === "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY") return !isPublishable(value);
  // Other variables are the adopter's, and hold anything.
  return !["anon", null].includes(roleOf(value.trim())) || hasPassword(value);
}
