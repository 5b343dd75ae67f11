"use client";

import { useRef, useState } from "react";
import { Button } from "@/components/ui/button";
import { errorMessage } from "@/lib/greenlight/errors";
import type { Question } from "./confirm-dialog";

interface Props extends Question {
  children: React.ReactNode;
  disabled?: boolean;
  variant?: "default" | "outline";
}

/** A button that asks before it acts. */
export function Confirm({ children, disabled, variant = "outline", ...question }: Props) {
  const button = useRef<HTMLButtonElement>(null);
  const { dialog, ask } = useConfirm(button);
  return (
    <>
      <Button
        ref={button}
        type="button"
        variant={variant}
        disabled={disabled}
        aria-haspopup="dialog"
        onPointerEnter={preload}
        onFocus={preload}
        onClick={() => void ask()}
      >
        {children}
      </Button>
      {dialog(question)}
    </>
  );
}

const load = () => import("./confirm-dialog");
const preload = () => void load().catch(() => undefined);

/**
 * A dialog that asks, and returns the focus to `opener` afterwards. Its code is loaded when it may be needed: most
 * visits end without a question.
 */
export function useConfirm(opener: React.RefObject<HTMLElement | null>) {
  const [Dialog, setDialog] = useState<Awaited<ReturnType<typeof load>>["ConfirmDialog"]>();
  const [open, setOpen] = useState(false);
  const [failed, setFailed] = useState(false);

  async function ask() {
    setFailed(false);
    try {
      const { ConfirmDialog } = await load();
      setDialog(() => ConfirmDialog);
      setOpen(true);
    } catch {
      setFailed(true);
    }
  }

  function dialog(question: Question) {
    if (failed) return <p role="alert">{errorMessage("unknown")}</p>;
    return Dialog && <Dialog {...question} open={open} onOpenChange={setOpen} opener={opener} />;
  }

  return { ask, dialog };
}
