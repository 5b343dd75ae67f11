"use client";

import { useId, useRef } from "react";

interface Props {
  children: React.ReactNode;
  title: string;
  question: string;
  confirm: string;
  danger?: boolean;
  disabled?: boolean;
  onConfirm: () => void;
}

/** A button that asks before it acts. The browser's own dialog keeps the focus inside, and gives it back. */
export function Confirm({ children, title, question, confirm, danger = false, disabled, onConfirm }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
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
      <dialog ref={dialog} role="alertdialog" aria-labelledby={`${id}t`} aria-describedby={`${id}q`}>
        <h2 id={`${id}t`}>{title}</h2>
        <p id={`${id}q`}>{question}</p>
        <form method="dialog" className="dialog-actions">
          <button className="button" autoFocus>
            Cancel
          </button>
          <button className={danger ? "button danger" : "button primary"} onClick={onConfirm}>
            {confirm}
          </button>
        </form>
      </dialog>
    </>
  );
}
