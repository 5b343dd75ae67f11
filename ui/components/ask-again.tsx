"use client";

import { requestChanges, type Plan } from "greenlight-client";
import { MessageSquareReply } from "lucide-react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { toast } from "sonner";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import { Confirm } from "@/components/greenlight/confirm";
import { PlainText } from "@/components/greenlight/plain-text";

interface Props {
  plan: Pick<Plan, "session_id" | "version" | "title">;
  onAsked: () => Promise<unknown>;
}

/** Sends an expired proposal back, so that its planner learns that it is still wanted. */
export function AskAgain({ plan: { session_id: sessionId, version, title }, onAsked }: Props) {
  const router = useRouter();
  const [busy, setBusy] = useState(false);

  async function ask(comment = "It expired before I decided. Please propose it again.") {
    setBusy(true);
    try {
      await requestChanges(await loadClient(), { sessionId, version, comment });
      toast.success("The planner was asked to propose it again");
    } catch (error) {
      toast.error(errorMessage(errorCode(error)));
    }
    await onAsked();
    setBusy(false);
    router.refresh();
  }

  return (
    <Confirm
      title={
        <>
          Ask for <PlainText>{title}</PlainText> again?
        </>
      }
      question="The planner sees your comment, or that the proposal expired, and proposes a new version."
      confirm="Ask again"
      comment="optional"
      disabled={busy}
      onConfirm={(comment) => void ask(comment)}
    >
      <MessageSquareReply aria-hidden /> Ask for it again
    </Confirm>
  );
}
