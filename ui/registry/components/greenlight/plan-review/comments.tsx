"use client";

import { Pencil, Trash2 } from "lucide-react";
import { use, useId } from "react";
import { PlainText } from "@/components/greenlight/plain-text";
import { Button } from "@/components/ui/button";
import { Label } from "@/components/ui/label";
import { Textarea } from "@/components/ui/textarea";
import type { PlanComment } from "@/lib/greenlight/client";
import { visibleText } from "@/lib/greenlight/visible";
import { cn } from "@/lib/utils";
import { PlanReviewContext } from "./texts";
import type { Comments } from "./use-comments";

// In the margin if there is one: the document leaves 18rem of the width.
const CARD =
  "relative my-2 rounded-lg border border-warning/40 bg-card px-3 py-2.5 font-sans text-sm/normal text-foreground [overflow-wrap:anywhere] shadow-xs @min-[860px]:float-right @min-[860px]:clear-right @min-[860px]:mt-0 @min-[860px]:-me-72 @min-[860px]:mb-3 @min-[860px]:w-64";

/** What was said on a passage, as plain text. */
function Said({ comment: { exact, body } }: { comment: PlanComment }) {
  return (
    <>
      <p className="line-clamp-2 border-s-2 border-warning/60 ps-2 text-[13px] text-muted-foreground">
        <PlainText>{exact}</PlainText>
      </p>
      <p className="mt-1.5 whitespace-pre-wrap">
        <PlainText>{body}</PlainText>
      </p>
    </>
  );
}

/** Short enough to be a name. */
function nameOf({ exact }: PlanComment): string {
  const signs = Array.from(visibleText(exact.replace(/\s+/g, " ").trim()));
  return signs.length > 40 ? `${signs.slice(0, 40).join("")}…` : signs.join("");
}

/** A comment of a decision, beside its passage. */
export function CommentCard({ comment }: { comment: PlanComment }) {
  const texts = use(PlanReviewContext).comments;
  return (
    <div role="group" aria-label={texts.on(nameOf(comment))} className={CARD} data-aside>
      <Said comment={comment} />
    </div>
  );
}

interface UnsentProps {
  comment: Comments["list"][number];
  unsent: Comments;
  onDone: () => void;
}

/** A comment that was not sent, beside its passage: to be written and changed. What is typed is kept at once. */
export function UnsentCard({ comment, unsent, onDone }: UnsentProps) {
  const texts = use(PlanReviewContext).comments;
  const id = useId();
  const name = nameOf(comment);
  const remove = (
    <Button
      type="button"
      variant="ghost"
      size="icon-sm"
      aria-label={texts.remove(name)}
      title={texts.remove(name)}
      onClick={() => {
        unsent.remove(comment.id);
        onDone();
      }}
    >
      <Trash2 aria-hidden />
    </Button>
  );
  if (unsent.editing !== comment.id)
    return (
      <div role="group" aria-label={texts.on(name)} className={CARD} data-aside>
        <Said comment={comment} />
        <div className="mt-1 flex items-center justify-end">
          {comment.from !== undefined && (
            <span className="me-auto text-[13px] text-muted-foreground">{texts.from(comment.from)}</span>
          )}
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={texts.edit(name)}
            title={texts.edit(name)}
            onClick={() => {
              unsent.edit(comment.id);
            }}
          >
            <Pencil aria-hidden />
          </Button>
          {remove}
        </div>
      </div>
    );

  function finish() {
    unsent.edit(null);
    onDone();
  }

  return (
    <form
      aria-label={texts.on(name)}
      className={cn(CARD, "grid gap-2 border-ring")}
      data-aside
      onSubmit={(event) => {
        event.preventDefault();
        finish();
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) finish();
      }}
    >
      <Label htmlFor={id} className="line-clamp-2 font-normal text-muted-foreground">
        <PlainText>{texts.on(name)}</PlainText>
      </Label>
      <Textarea
        id={id}
        ref={focusOnce}
        rows={3}
        value={comment.body}
        onChange={({ currentTarget }) => {
          unsent.change(comment.id, currentTarget.value);
        }}
      />
      <div className="flex items-center justify-end gap-1">
        {remove}
        <Button size="sm">{texts.done}</Button>
      </div>
    </form>
  );
}

function focusOnce(element: HTMLTextAreaElement | null) {
  element?.focus();
}

interface ListProps {
  sent: readonly PlanComment[];
  unsent: Comments;
  /** Whether comments can still be sent. */
  isOpen: boolean;
  onShow: (comment: PlanComment) => void;
}

/** All comments in one place, and those whose passage does not stand in this version. */
export function CommentList({ sent, unsent, isOpen, onShow }: ListProps) {
  const texts = use(PlanReviewContext).comments;
  const id = useId();
  const list = unsent.list.filter(({ id }) => id !== unsent.editing);
  if (sent.length + list.length === 0) return null;
  return (
    <section aria-labelledby={id} className="mt-10 clear-both max-w-[70ch] border-t pt-5">
      <h2 id={id} className="mb-3 font-heading text-xl font-semibold">
        {texts.list(sent.length + list.length)}
      </h2>
      {isOpen && unsent.isTooMuch && (
        <p role="alert" className="mb-3 text-sm text-destructive">
          {texts.tooMuch}
        </p>
      )}
      <ol className="grid gap-3 text-sm">
        {sent.map((comment, index) => (
          <Item key={index} comment={comment} onShow={onShow} />
        ))}
        {list.map((comment) => (
          <Item
            key={comment.id}
            comment={comment}
            onShow={comment.place ? onShow : undefined}
            note={!comment.place ? texts.lost : isOpen ? undefined : texts.unsent}
            onRemove={() => {
              unsent.remove(comment.id);
            }}
          />
        ))}
      </ol>
    </section>
  );
}

interface ItemProps {
  comment: PlanComment;
  note?: string | undefined;
  onShow?: ((comment: PlanComment) => void) | undefined;
  onRemove?: () => void;
}

function Item({ comment, note, onShow, onRemove }: ItemProps) {
  const texts = use(PlanReviewContext).comments;
  const name = nameOf(comment);
  return (
    <li className="rounded-lg border bg-card px-4 py-3 [overflow-wrap:anywhere]">
      <Said comment={comment} />
      {note && <p className="mt-1.5 text-[13px] text-warning">{note}</p>}
      <div className="-ms-2 mt-1 flex gap-1">
        {onShow && (
          <Button
            variant="ghost"
            size="sm"
            aria-label={texts.show(name)}
            onClick={() => {
              onShow(comment);
            }}
          >
            {texts.showShort}
          </Button>
        )}
        {onRemove && (
          <Button variant="ghost" size="sm" aria-label={texts.remove(name)} onClick={onRemove}>
            {texts.removeShort}
          </Button>
        )}
      </div>
    </li>
  );
}
