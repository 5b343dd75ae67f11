"use client";

import { useId, useRef } from "react";

interface Props {
  children: React.ReactNode;
  title: React.ReactNode;
  question: string;
  confirm: string;
  /** Asks for a comment, too. */
  comment?: "required" | "optional";
  danger?: boolean;
  disabled?: boolean;
  onConfirm: (comment?: string) => void;
}

/** A button that asks before it acts. The browser's own dialog keeps the focus inside, and returns it afterwards. */
export function Confirm({
  children,
  title,
  question,
  confirm,
  comment,
  danger = false,
  disabled,
  onConfirm,
}: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  return (
    <>
      <button
        type="button"
        className="button"
        disabled={disabled}
        onClick={() => dialog.current?.showModal()}
      >
        {children}
      </button>
      <dialog
        ref={dialog}
        role={comment ? "dialog" : "alertdialog"}
        aria-labelledby={`${id}t`}
        aria-describedby={`${id}q`}
      >
        <h2 id={`${id}t`}>{title}</h2>
        <p id={`${id}q`}>{question}</p>
        <form
          method="dialog"
          onSubmit={() => {
            // What was typed stays in the dialog, in case the call fails.
            onConfirm(field.current?.value.trim() ? field.current.value : undefined);
          }}
        >
          {comment && (
            <label>
              {comment === "required" ? "Comment" : "Comment (optional)"}
              <textarea
                ref={field}
                rows={5}
                required={comment === "required"}
                autoFocus
                onInput={({ currentTarget }) => {
                  currentTarget.setCustomValidity(commentProblem(currentTarget.value, comment));
                }}
              />
            </label>
          )}
          <div className="dialog-actions">
            <button
              type="button"
              className="button"
              autoFocus={!comment}
              onClick={() => dialog.current?.close()}
            >
              Cancel
            </button>
            <button className={danger ? "button danger" : "button primary"}>{confirm}</button>
          </div>
        </form>
      </dialog>
    </>
  );
}

/** Checks the database's rule in the form. */
function commentProblem(text: string, comment: "required" | "optional"): string {
  if (Array.from(text).length > 4_000) return "Use at most 4,000 characters.";
  return comment === "required" && text.trim() === "" ? "Write a comment." : "";
}
