"use client";

import { Undo2 } from "lucide-react";
import { useRouter } from "next/navigation";
import { useTransition } from "react";
import { Button } from "@/components/ui/button";
import { restoreAgent } from "./restore-agent";

export function RestoreButton({ id, label = "Restore" }: { id: string; label?: string }) {
  const router = useRouter();
  const [pending, start] = useTransition();
  return (
    <Button
      type="button"
      variant="outline"
      aria-label={label}
      disabled={pending}
      onClick={() => {
        start(async () => {
          if (await restoreAgent(id)) router.push(`/build/${id}`);
          router.refresh();
        });
      }}
    >
      <Undo2 aria-hidden /> Restore
    </Button>
  );
}
