"use client";

import { useEffect, useState } from "react";
import type { ExternalToast } from "sonner";
import type { Toaster as LoadedToaster } from "./toaster";

export interface Toast {
  kind: "success" | "error";
  text: string;
  options?: ExternalToast | undefined;
}

const waiting: Toast[] = [];
let wake: () => void = () => undefined;

function say(kind: Toast["kind"], text: string, options?: ExternalToast) {
  waiting.push({ kind, text, options });
  wake();
}

export const toast = {
  success: (text: string, options?: ExternalToast) => {
    say("success", text, options);
  },
  error: (text: string) => {
    say("error", text);
  },
};

/** Where toasts appear. Their code is loaded with the first one: most visits have none. */
export function Toasts() {
  const [Toaster, setToaster] = useState<typeof LoadedToaster>();
  useEffect(() => {
    async function load() {
      try {
        const { Toaster } = await import("./toaster");
        setToaster(() => Toaster);
      } catch {
        for (const { text } of waiting.splice(0)) alert(text);
      }
    }
    wake = () => void load();
  }, []);
  return (
    Toaster && (
      <Toaster
        waiting={waiting}
        onReady={(show) => {
          wake = show;
        }}
      />
    )
  );
}
