"use client";

import { useId, useState } from "react";
import {
  AlertDialog,
  AlertDialogCancel,
  AlertDialogContent,
  AlertDialogDescription,
  AlertDialogFooter,
  AlertDialogHeader,
  AlertDialogTitle,
} from "@/components/ui/alert-dialog";
import { Button } from "@/components/ui/button";
import { Label } from "@/components/ui/label";
import { Textarea } from "@/components/ui/textarea";
import { cn } from "@/lib/utils";

export const confirmTexts = {
  cancel: "Cancel",
  comment: "Comment",
  optionalComment: "Comment (optional)",
  tooLong: "Use at most 4,000 characters.",
  empty: "Write a comment.",
};

/** What is asked, and what follows. */
export interface Question {
  title: React.ReactNode;
  question: string;
  /** The word on the button that acts. */
  confirm: string;
  /** Asks for a comment, too. */
  comment?: "required" | "optional";
  /** What the comment begins with. */
  text?: string | undefined;
  danger?: boolean;
  onConfirm: (comment?: string) => void;
  /** Other answers. */
  others?: { label: string; onConfirm: (comment?: string) => void }[];
  texts?: typeof confirmTexts;
}

interface Props extends Question {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  opener: React.RefObject<HTMLElement | null>;
}

export function ConfirmDialog({
  title,
  question,
  confirm,
  comment,
  text: initial = "",
  danger = false,
  onConfirm,
  others = [],
  texts = confirmTexts,
  open,
  onOpenChange,
  opener,
}: Props) {
  // Outside of what closes, so that what was typed is there again if the call fails.
  const [text, setText] = useState(initial);
  const id = useId();

  function answer(act: (comment?: string) => void) {
    onOpenChange(false);
    act(text.trim() ? text : undefined);
  }

  return (
    <AlertDialog open={open} onOpenChange={onOpenChange}>
      <AlertDialogContent
        className="sm:max-w-md"
        // A form, which more is done with than to answer.
        {...(comment && { role: "dialog" })}
        onOpenAutoFocus={(event) => {
          if (!comment) return;
          event.preventDefault();
          document.getElementById(id)?.focus();
        }}
        onCloseAutoFocus={(event) => {
          event.preventDefault();
          opener.current?.focus();
        }}
      >
        <AlertDialogHeader>
          <AlertDialogTitle className="text-balance [overflow-wrap:anywhere]">{title}</AlertDialogTitle>
          <AlertDialogDescription>{question}</AlertDialogDescription>
        </AlertDialogHeader>
        <form
          className="grid gap-6"
          onSubmit={(event) => {
            event.preventDefault();
            answer(onConfirm);
          }}
        >
          {comment && (
            <div className="grid gap-2">
              <Label htmlFor={id}>{comment === "required" ? texts.comment : texts.optionalComment}</Label>
              <Textarea
                id={id}
                rows={5}
                required={comment === "required"}
                value={text}
                onChange={({ currentTarget }) => {
                  setText(currentTarget.value);
                  currentTarget.setCustomValidity(problem(currentTarget.value, comment, texts));
                }}
              />
            </div>
          )}
          <AlertDialogFooter className={cn(others.length > 0 && "sm:flex-col-reverse")}>
            <AlertDialogCancel type="button">{texts.cancel}</AlertDialogCancel>
            {others.map((other) => (
              <Button
                key={other.label}
                type="button"
                variant="outline"
                onClick={({ currentTarget }) => {
                  if (currentTarget.form?.reportValidity()) answer(other.onConfirm);
                }}
              >
                {other.label}
              </Button>
            ))}
            <Button variant={danger ? "destructive" : "default"}>{confirm}</Button>
          </AlertDialogFooter>
        </form>
      </AlertDialogContent>
    </AlertDialog>
  );
}

/** Checks the database's rule in the form. */
function problem(text: string, comment: "required" | "optional", texts: typeof confirmTexts): string {
  if (Array.from(text).length > 4_000) return texts.tooLong;
  return comment === "required" && text.trim() === "" ? texts.empty : "";
}
