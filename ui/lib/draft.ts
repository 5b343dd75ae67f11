import { useCallback, useSyncExternalStore } from "react";

/**
 * The plan under review, kept in this browser per user and planning session until it is approved and after.
 *
 * The version names the revision that the user saw. A revision is settled once it was opened, or sent for approval
 * (even if no answer came: it may have been approved). The first edit of a settled revision begins the next version,
 * above whatever was approved elsewhere; edits after that belong to the same version, until it is sent.
 */
export interface Draft {
  title: string;
  content: string;
  version: number;
  settled: boolean;
}

export function opened(title: string, content: string, version = 1): Draft {
  return { title, content, version, settled: true };
}

/** The draft after a change. `newest` is the newest version known to be approved, 0 for none. */
export function edited(
  draft: Draft,
  change: Partial<Pick<Draft, "title" | "content">>,
  newest: number,
): Draft {
  const next = { ...draft, ...change };
  if (next.title === draft.title && next.content === draft.content) return draft;
  if (!draft.settled) return next;
  return { ...next, version: Math.max(draft.version, newest) + 1, settled: false };
}

export function sent(draft: Draft): Draft {
  return draft.settled ? draft : { ...draft, settled: true };
}

// The store: local storage, read once per key, and told to every component and every tab that looks at it.

const PREFIX = "greenlight:draft:";
const drafts = new Map<string, Draft | null>();
const unsaved = new Set<string>();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setTimeout> | undefined;

function keyOf(userId: string, sessionId: string) {
  return `${PREFIX}${userId}:${sessionId}`;
}

function read(key: string): Draft | null {
  let draft = drafts.get(key);
  if (draft === undefined) {
    draft = parse(localStorage.getItem(key));
    drafts.set(key, draft);
  }
  return draft;
}

function parse(json: string | null): Draft | null {
  if (json === null) return null;
  try {
    const draft = JSON.parse(json) as Partial<Draft> | null;
    return typeof draft?.title === "string" &&
      typeof draft.content === "string" &&
      Number.isSafeInteger(draft.version) &&
      typeof draft.settled === "boolean"
      ? (draft as Draft)
      : null;
  } catch {
    return null;
  }
}

function write(key: string, draft: Draft | null) {
  drafts.set(key, draft);
  unsaved.add(key);
  for (const listener of listeners) listener();
  // Not on every key press: a long document takes a moment to write. Leaving the page writes it at once.
  clearTimeout(timer);
  timer = setTimeout(flush, 300);
}

function flush() {
  for (const key of unsaved) {
    const draft = drafts.get(key);
    try {
      if (draft) localStorage.setItem(key, JSON.stringify(draft));
      else localStorage.removeItem(key);
    } catch {
      // The storage is full, or forbidden. The draft lives on in this tab; approving does not need the storage.
    }
  }
  unsaved.clear();
}

function subscribe(listener: () => void) {
  if (listeners.size === 0) {
    addEventListener("storage", onOtherTab);
    addEventListener("pagehide", flush);
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    flush();
    removeEventListener("storage", onOtherTab);
    removeEventListener("pagehide", flush);
  };
}

function onOtherTab({ key, newValue }: StorageEvent) {
  if (!key?.startsWith(PREFIX)) return;
  drafts.set(key, parse(newValue));
  for (const listener of listeners) listener();
}

/** The draft of a session, null if there is none, undefined while the page is not in the browser yet. */
export function useDraft(userId: string, sessionId: string) {
  const key = keyOf(userId, sessionId);
  const draft = useSyncExternalStore(
    subscribe,
    () => read(key),
    () => undefined,
  );
  const save = useCallback(
    (draft: Draft) => {
      write(key, draft);
    },
    [key],
  );
  return [draft, save] as const;
}

/** Puts a draft there before its page is opened. */
export function saveDraft(userId: string, sessionId: string, draft: Draft) {
  write(keyOf(userId, sessionId), draft);
  flush();
}

/** Where this browser's drafts of a user are, by session. */
export function draftsOf(userId: string): { sessionId: string; draft: Draft }[] {
  const prefix = keyOf(userId, "");
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(prefix))
    .flatMap((key) => {
      const draft = read(key);
      return draft ? [{ sessionId: key.slice(prefix.length), draft }] : [];
    });
}

export function discardDraft(userId: string, sessionId: string) {
  write(keyOf(userId, sessionId), null);
  flush();
}
