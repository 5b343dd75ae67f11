/** @import { Supabase } from "./types.js" */
/** @import * as greenlight from "./types.js" */
/** @typedef {ReturnType<Supabase["storage"]["from"]>} Bucket */

import { authError, GreenlightError, storageError } from "./errors.js";

const BUCKET = "plans";
const MAX_BYTES = 1024 * 1024;
// storage-api refuses an upload of an existing document before it has read the body, and if more than 150 kB are unread,
// the next request on that connection hangs. So check first whether a larger document exists.
const ASK_FIRST_BYTES = 100_000;
// A clean-up may remove the document between the upload and the call that needs it. It hardly happens twice in a row.
const ATTEMPTS = 3;
const SIGNED_URL_SECONDS = 3600;

/**
 * Postgres cannot store NUL, and UTF-8 has no lone surrogates: encoding would replace them by another character than
 * the one that was shown.
 *
 * @param {string | undefined} text
 */
export function assertText(text) {
  if (text === undefined) return;
  if (text.includes("\0") || !text.isWellFormed())
    throw new GreenlightError("invalid_request", { details: "The text contains NUL or a lone surrogate." });
}

/**
 * The document's bytes and their hash, or an error before anything is sent.
 *
 * @param {string | Uint8Array} content
 * @param {string} [expected]
 */
export async function read(content, expected) {
  // A copy, so that the hashed bytes are the sent bytes, even if the caller changes the array meanwhile.
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content);
  if (bytes.length < 1 || bytes.length > MAX_BYTES)
    throw new GreenlightError("document_too_large", { details: "A document has 1 byte to 1 MiB." });
  assertText(typeof content === "string" ? content : decode(bytes));
  const sha256 = await hash(bytes);
  if (expected !== undefined && expected !== sha256)
    throw new GreenlightError("document_changed", { details: "The content's hash is not the given sha256." });
  return { bytes, sha256 };
}

/** @param {Uint8Array} bytes */
function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new GreenlightError("invalid_request", { details: "The document is not UTF-8.", cause });
  }
}

/** @param {BufferSource} bytes */
async function hash(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Stores the document and calls `use` with its signed URL.
 *
 * @template Result
 * @param {Supabase} supabase
 * @param {{ userId: string | undefined, sessionId: string, bytes: Uint8Array, sha256: string }} document
 * @param {(url: string) => Promise<Result>} use
 */
export async function store(supabase, { userId, sessionId, bytes, sha256 }, use) {
  const path = `${userId ?? (await ownId(supabase))}/${sessionId}/${sha256}.md`;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      return await use(await storedUrl(supabase, path, bytes));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  throw new GreenlightError("upstream_error", {
    details: "Storage does not keep the document.",
    retryable: true,
  });
}

/** @type {WeakMap<Supabase, Map<string, Promise<string>>>} */
const underWay = new WeakMap();

/**
 * The signed URL of a document that is in storage now. Calls for the same document at the same time share one upload: all
 * others would be refused, and a large one leaves a connection that hangs.
 *
 * @param {Supabase} supabase
 * @param {string} path
 * @param {Uint8Array} bytes
 */
function storedUrl(supabase, path, bytes) {
  /** @type {Map<string, Promise<string>>} */
  const urls = underWay.get(supabase) ?? new Map();
  underWay.set(supabase, urls);
  const url = urls.get(path) ?? put(supabase, path, bytes).finally(() => urls.delete(path));
  urls.set(path, url);
  return url;
}

/**
 * @param {Supabase} supabase
 * @param {string} path
 * @param {Uint8Array} bytes
 */
async function put(supabase, path, bytes) {
  const bucket = supabase.storage.from(BUCKET);
  const sign = async () => {
    const { data, error } = await bucket.createSignedUrl(path, SIGNED_URL_SECONDS);
    if (error) throw storageError(error);
    return data.signedUrl;
  };
  if (bytes.length > ASK_FIRST_BYTES) {
    const url = await sign().catch(unlessMissing);
    if (url) {
      await check(bucket, path, bytes);
      return url;
    }
  }
  const { error } = await bucket.upload(path, bytes, { contentType: "text/markdown" });
  if (error) {
    if (error.statusCode !== "409") throw storageError(error);
    await check(bucket, path, bytes);
  }
  return sign();
}

/**
 * Checks that the document is what is at its path, and removes anything else, so that the next attempt stores it. The path
 * has the document's hash, but storage does not compare them. Other bytes stay if a plan refers to them, and if the client
 * may not delete, as an agent's.
 *
 * @param {Bucket} bucket
 * @param {string} path
 * @param {Uint8Array} bytes
 */
async function check(bucket, path, bytes) {
  const same = async () => {
    const stored = await load(bucket, path, bytes.length);
    return stored?.length === bytes.length && stored.every((byte, index) => byte === bytes[index]);
  };
  if (await same()) return;
  const { data: removed, error } = await bucket.remove([path]);
  if (error && error.statusCode !== "409") throw storageError(error);
  if (removed?.length) throw new GreenlightError("document_not_found");
  if (await same()) return;
  throw new GreenlightError("document_conflict", {
    details: "Storage has other bytes under this document's hash, and they cannot be replaced.",
  });
}

/** @param {Supabase} supabase */
async function ownId(supabase) {
  const { data, error } = await supabase.auth.getClaims();
  if (!data) throw authError(error);
  return data.claims.sub;
}

/** @param {unknown} error */
function isMissing(error) {
  return error instanceof GreenlightError && error.code === "document_not_found";
}

/** @param {unknown} error */
function unlessMissing(error) {
  if (!isMissing(error)) throw error;
}

/**
 * What is stored at a path, or null if it has more bytes than the limit: it is not read further.
 *
 * @param {Bucket} bucket
 * @param {string} path
 * @param {number} limit
 */
async function load(bucket, path, limit) {
  // Not from the browser's cache: a document that was replaced has the same address.
  const { data, error } = await bucket.download(path, {}, { cache: "no-store" }).asStream();
  if (error) throw storageError(error);
  const bytes = new Uint8Array(limit);
  let size = 0;
  const reader = /** @type {ReadableStreamDefaultReader<Uint8Array>} */ (data.getReader());
  for (;;) {
    const { done, value } = await reader.read().catch((/** @type {unknown} */ cause) => {
      throw new GreenlightError("upstream_unavailable", { cause });
    });
    if (done) return bytes.slice(0, size);
    if (size + value.length > limit) {
      await reader.cancel();
      return null;
    }
    bytes.set(value, size);
    size += value.length;
  }
}

/** @type {typeof greenlight.getDocument} */
export async function getDocument(supabase, plan) {
  const bytes = await load(supabase.storage.from(BUCKET), plan.document_path, MAX_BYTES);
  if (!bytes)
    throw new GreenlightError("document_too_large", { details: "What is stored has more than 1 MiB." });
  const sha256 = await hash(bytes);
  return { bytes, sha256, verified: sha256 === plan.document_sha256 };
}
