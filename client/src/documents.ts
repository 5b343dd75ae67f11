import { authError, GreenlightError, storageError } from "./errors";
import type { Plan, Supabase } from "./types";

type Bucket = ReturnType<Supabase["storage"]["from"]>;

const BUCKET = "plans";
export const MAX_DOCUMENT_BYTES = 1024 * 1024;
// storage-api refuses an upload of an existing document before it has read the body, and if more than 150 kB are unread,
// the next request on that connection hangs. So check first whether a larger document exists.
const ASK_FIRST_BYTES = 100_000;
// A clean-up may remove the document between the upload and the call that needs it. It hardly happens twice in a row.
const ATTEMPTS = 3;
const SIGNED_URL_SECONDS = 3600;

/** A text that cannot be stored as it was shown, or null. */
function textProblem(text: string): GreenlightError | null {
  // Postgres cannot store NUL, and UTF-8 has no lone surrogates: encoding would replace them by another character.
  return text.includes("\0") || !text.isWellFormed()
    ? new GreenlightError("invalid_request", { details: "The text contains NUL or a lone surrogate." })
    : null;
}

export function assertText(text: string | undefined): void {
  const problem = text === undefined ? null : textProblem(text);
  if (problem) throw problem;
}

/** Why a document can be neither proposed nor approved: the error that either would throw. Null if it can be. */
export function documentProblem(content: string | Uint8Array): GreenlightError | null {
  const size = typeof content === "string" ? encode(content).length : content.length;
  if (size < 1 || size > MAX_DOCUMENT_BYTES)
    return new GreenlightError("document_too_large", { details: "A document has 1 byte to 1 MiB." });
  if (typeof content === "string") return textProblem(content);
  try {
    return textProblem(decodeDocument(content));
  } catch (error) {
    return error as GreenlightError;
  }
}

/** The document's bytes and their hash, or an error before anything is sent. */
export async function read(
  content: string | Uint8Array,
  expected?: string,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sha256: string }> {
  // A copy, so that the hashed bytes are the sent bytes, even if the caller changes the array meanwhile.
  const bytes = typeof content === "string" ? encode(content) : new Uint8Array(content);
  const problem = documentProblem(typeof content === "string" ? content : bytes);
  if (problem) throw problem;
  const hash = await sha256(bytes);
  if (expected !== undefined && expected !== hash)
    throw new GreenlightError("document_changed", { details: "The content's hash is not the given sha256." });
  return { bytes, sha256: hash };
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of a document, with its byte order mark if it has one. `invalid_request` if it is not UTF-8. */
export function decodeDocument(bytes: ArrayBuffer | Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new GreenlightError("invalid_request", { details: "The document is not UTF-8.", cause });
  }
}

/** The SHA-256 of a document in hex, as `document_sha256` has it. */
export async function sha256(content: string | BufferSource): Promise<string> {
  const bytes = typeof content === "string" ? encode(content) : content;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Stores the document and calls `use` with its signed URL. */
export async function store<Result>(
  supabase: Supabase,
  {
    userId,
    sessionId,
    bytes,
    sha256,
  }: { userId: string | undefined; sessionId: string; bytes: Uint8Array; sha256: string },
  use: (url: string) => Promise<Result>,
): Promise<Result> {
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

const underWay = new WeakMap<Supabase, Map<string, Promise<string>>>();

/**
 * The signed URL of a document that is in storage now. Calls for the same document at the same time share one upload: all
 * others would be refused, and a large one leaves a connection that hangs.
 */
function storedUrl(supabase: Supabase, path: string, bytes: Uint8Array): Promise<string> {
  const urls = underWay.get(supabase) ?? new Map<string, Promise<string>>();
  underWay.set(supabase, urls);
  const url = urls.get(path) ?? put(supabase, path, bytes).finally(() => urls.delete(path));
  urls.set(path, url);
  return url;
}

async function put(supabase: Supabase, path: string, bytes: Uint8Array): Promise<string> {
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
 */
async function check(bucket: Bucket, path: string, bytes: Uint8Array): Promise<void> {
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

export async function ownId(supabase: Supabase): Promise<string> {
  const id = await callerId(supabase);
  if (id === null) throw authError(null);
  return id;
}

/**
 * The id of who is signed in, or null. A client with the option `accessToken` has no Auth: its token says it. The token may
 * have ended by the caller's clock, which may be hours off: the database judges that.
 */
export async function callerId(supabase: Supabase): Promise<string | null> {
  const { accessToken } = supabase as unknown as { accessToken?: () => Promise<string | null> };
  if (accessToken) return subject((await accessToken()) ?? "");
  const { data, error } = await supabase.auth.getClaims(undefined, { allowExpired: true });
  if (error) throw authError(error);
  return data?.claims.sub ?? null;
}

function subject(token: string): string | null {
  try {
    const claims = atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    return (JSON.parse(claims) as { sub?: string }).sub ?? null;
  } catch {
    return null; // The database refuses it.
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof GreenlightError && error.code === "document_not_found";
}

function unlessMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

/** The bytes stored at a path, or null if there are more than the limit: they are not read further. */
async function load(bucket: Bucket, path: string, limit: number): Promise<Uint8Array<ArrayBuffer> | null> {
  // Not from the browser's cache: a document that was replaced has the same address.
  const { data, error } = await bucket.download(path, {}, { cache: "no-store" }).asStream();
  if (error) throw storageError(error);
  const bytes = new Uint8Array(limit);
  let size = 0;
  const reader = data.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
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

/**
 * The bytes of a plan's document, their SHA-256, and whether this is the plan's hash. Stops reading at 1 MiB, with
 * `document_too_large`.
 */
export async function getDocument(
  supabase: Supabase,
  plan: Pick<Plan, "document_path" | "document_sha256">,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sha256: string; verified: boolean }> {
  const bytes = await load(supabase.storage.from(BUCKET), plan.document_path, MAX_DOCUMENT_BYTES);
  if (!bytes)
    throw new GreenlightError("document_too_large", { details: "The stored document has more than 1 MiB." });
  const hash = await sha256(bytes);
  return { bytes, sha256: hash, verified: hash === plan.document_sha256 };
}
