import { useEffect } from "react";
import { Toaster as Sonner, toast } from "sonner";
import type { Toast } from "./toasts";

const LOOK = {
  "--normal-bg": "var(--popover)",
  "--normal-text": "var(--popover-foreground)",
  "--normal-border": "var(--input)",
  "--border-radius": "var(--radius)",
};

interface Props {
  waiting: Toast[];
  onReady: (show: () => void) => void;
}

export function Toaster({ waiting, onReady }: Props) {
  useEffect(() => {
    function show() {
      for (const { kind, text, options } of waiting.splice(0)) toast[kind](text, options);
    }
    show();
    onReady(show);
  }, [waiting, onReady]);
  return (
    <Sonner
      theme="system"
      position="bottom-right"
      closeButton
      duration={6000}
      className="font-sans!"
      style={LOOK as React.CSSProperties}
      toastOptions={{
        classNames: { success: "[&_[data-icon]]:text-success", error: "[&_[data-icon]]:text-destructive" },
      }}
    />
  );
}
