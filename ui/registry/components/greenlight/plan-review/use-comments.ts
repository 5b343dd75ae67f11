import { useEffect, useEffectEvent, useState } from "react";
import useLocalStorageState from "use-local-storage-state";
import {
  commentOn,
  locateComment,
  type Plan,
  type PlanComment,
  type Selection,
} from "@/lib/greenlight/client";
import { newSessionId } from "./draft";

/** A comment that was not sent yet. */
export interface UnsentComment extends PlanComment {
  id: string;
  /** The version that it was written on, if that was another one. */
  from?: number;
}

// As the database has it: how many a decision takes, how long each is, and all of them as jsonb's text.
const MAX_COMMENTS = 200;
const MAX_BYTES = 65_536;
const MAX_LENGTH = 4_000;
/** A shorter passage may stand elsewhere by chance. */
const DISTINCT = 12;

interface Options {
  userId: string;
  plan: Plan | undefined;
  /** The plan's document, once it is shown. */
  content: string | undefined;
  isOpen: boolean;
  /** The plans of the session. */
  plans: readonly Plan[];
}

/**
 * What the user says on passages of a plan: kept in this browser for the version that was read, until it is sent. When a
 * newer version is opened, the comments come along. Those whose passage stands there are on it.
 */
export function useComments({ userId, plan, content, isOpen, plans }: Options) {
  const [stored = NONE, save] = useLocalStorageState<UnsentComment[]>(keyOf(userId, plan), {
    serializer: { stringify: JSON.stringify, parse: parseComments },
  });
  const [editing, setEditing] = useState<string | null>(null);
  const older = plan ? plans.filter(({ version }) => version < plan.version) : [];
  const ids = older.map(({ id }) => id).join(" ");

  const bringAlong = useEffectEvent((text: string) => {
    const brought = older.flatMap((other) =>
      takeFrom(keyOf(userId, other)).map((comment): UnsentComment => {
        const place = findPassage(text, comment);
        const from = comment.from ?? other.version;
        return { ...comment, ...(place && commentOn(text, place, comment.body)), from };
      }),
    );
    if (brought.length > 0) save([...stored, ...brought]);
  });
  useEffect(() => {
    if (isOpen && content !== undefined) bringAlong(content);
  }, [isOpen, content, ids]);

  const text = content ?? "";
  const list = stored
    .filter(({ id, body }) => id === editing || isSaid(body))
    .map((comment) => ({ ...comment, place: content === undefined ? null : locateComment(text, comment) }))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  const ready = list.filter(({ place, body }) => place && isSaid(body));

  return {
    list,
    /** How many can be sent: each has its passage, and says something. */
    count: ready.length,
    /** More than a decision takes. */
    isTooMuch: ready.length > MAX_COMMENTS || sizeOf(ready) > MAX_BYTES,
    editing,
    edit: setEditing,
    /** Begins a comment on a part of the document: as much of it as a comment takes. */
    add(selection: Selection) {
      const exact = Array.from(text.slice(selection.start, selection.end)).slice(0, MAX_LENGTH).join("");
      const passage = { start: selection.start, end: selection.start + exact.length };
      const id = newSessionId();
      save([
        ...stored.filter(({ body }) => isSaid(body)),
        { ...commentOn(text, passage, "…"), body: "", id },
      ]);
      setEditing(id);
    },
    change(id: string, body: string) {
      const short = Array.from(body).slice(0, MAX_LENGTH).join("");
      save(stored.map((comment) => (comment.id === id ? { ...comment, body: short } : comment)));
    },
    remove(...ids: string[]) {
      save(stored.filter(({ id }) => !ids.includes(id)));
    },
    /** What is sent, and what to do when it was. */
    send() {
      const sent = ready.map(({ id }) => id);
      return {
        comments: ready.map(({ start, end, exact, body }): PlanComment => ({ start, end, exact, body })),
        done() {
          // Of what is stored now: another tab may have written meanwhile.
          save((now) => (now ?? NONE).filter(({ id }) => !sent.includes(id)));
        },
      };
    },
  };
}

export type Comments = ReturnType<typeof useComments>;

const NONE: UnsentComment[] = [];

/** Where a comment's passage stands in another version: in its place, or where else it is once. Null if nowhere. */
export function findPassage(text: string, comment: PlanComment): Selection | null {
  const place = locateComment(text, comment);
  const { exact } = comment;
  if (place || exact.length < DISTINCT) return place;
  const start = text.indexOf(exact);
  return start >= 0 && !text.includes(exact, start + 1) ? { start, end: start + exact.length } : null;
}

function isSaid(body: string): boolean {
  return /[^\s\x85]/.test(body);
}

function sizeOf(comments: readonly PlanComment[]): number {
  // jsonb's text has a space behind each colon and comma.
  const texts = comments.map(({ start, end, exact, body }) => JSON.stringify({ start, end, exact, body }));
  return new TextEncoder().encode(texts.join(", ")).length + 7 * texts.length + 2;
}

function keyOf(userId: string, plan: Plan | undefined): string {
  return `greenlight:comments:${userId}:${plan?.id ?? ""}:${plan?.document_sha256 ?? ""}`;
}

function takeFrom(key: string): UnsentComment[] {
  try {
    const taken = parseComments(localStorage.getItem(key) ?? "[]");
    localStorage.removeItem(key);
    return taken.filter(({ body }) => isSaid(body));
  } catch {
    return NONE;
  }
}

/** Throws if the stored text is not a list of comments: the hook then treats it as missing. */
function parseComments(json: string): UnsentComment[] {
  const list: unknown = JSON.parse(json);
  if (!Array.isArray(list) || !list.every(isComment)) throw new TypeError("Not comments");
  return list;
}

function isComment(value: unknown): value is UnsentComment {
  const { id, start, end, exact, body } = (value ?? {}) as Partial<UnsentComment>;
  return (
    [id, exact, body].every((text) => typeof text === "string") &&
    [start, end].every((number) => Number.isSafeInteger(number))
  );
}
