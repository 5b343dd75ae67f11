import useLocalStorageState from "use-local-storage-state";

/**
 * The plan under review, kept in this browser for each user and planning session, even after it is approved.
 *
 * The version names the revision that the user saw. A revision is settled once it was opened, or sent for approval
 * (even if no answer came: it may have been approved). The first edit of a settled revision starts the next version,
 * above every version that exists in the session; later edits belong to the same version, until it is sent.
 */
export interface Draft {
  title: string;
  content: string;
  version: number;
  settled: boolean;
}

export function openDraft(title: string, content: string, version = 1): Draft {
  return { title, content, version, settled: true };
}

/** The draft after a change. `newest` is the newest version of the session that is known, 0 for none. */
export function editDraft(
  draft: Draft,
  change: Partial<Pick<Draft, "title" | "content">>,
  newest: number,
): Draft {
  const next = { ...draft, ...change };
  if (next.title === draft.title && next.content === draft.content) return draft;
  if (!draft.settled) return next;
  return { ...next, version: Math.max(draft.version, newest) + 1, settled: false };
}

export function markSent(draft: Draft): Draft {
  return draft.settled ? draft : { ...draft, settled: true };
}

const PREFIX = "greenlight:draft:";

/** The draft of a session, undefined if there is none, and on the server. Kept in memory if storage is full. */
export function useDraft(userId: string, sessionId: string) {
  const [draft, save, { removeItem }] = useLocalStorageState<Draft>(`${PREFIX}${userId}:${sessionId}`, {
    serializer: { stringify: JSON.stringify, parse: parseDraft },
  });
  return { draft, save, discard: removeItem };
}

/** The sessions for which this browser has a draft of the user. */
export function draftSessions(userId: string): string[] {
  const prefix = `${PREFIX}${userId}:`;
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length));
}

/** Throws if the stored text is not a draft: the hook then treats it as missing. */
function parseDraft(json: string): Draft {
  const draft = JSON.parse(json) as Partial<Draft> | null;
  if (
    typeof draft?.title === "string" &&
    typeof draft.content === "string" &&
    Number.isSafeInteger(draft.version) &&
    typeof draft.settled === "boolean"
  )
    return draft as Draft;
  throw new TypeError("Not a draft");
}

/** A new planning session's id. crypto.randomUUID would need a secure context. */
export function newSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
