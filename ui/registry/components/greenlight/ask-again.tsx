"use client";

import { MessageSquareReply } from "lucide-react";
import { useState } from "react";
import { Confirm } from "@/components/greenlight/confirm";
import { PlainText } from "@/components/greenlight/plain-text";
import { requestChanges, type Plan } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";

export const askAgainTexts = {
  ask: "Ask for it again",
  before: "Ask for",
  after: "again?",
  question: "The planner sees your comment, or that the proposal expired, and proposes a new version.",
  confirm: "Ask again",
  comment: "It expired before I decided. Please propose it again.",
};

interface Props {
  plan: Pick<Plan, "user_id" | "session_id" | "version" | "title">;
  onAsked: () => Promise<unknown>;
  texts: typeof askAgainTexts;
  errors: Record<ErrorCode, string>;
}

/** Sends an expired proposal back, so that its planner learns that it is still wanted. */
export function AskAgain({
  plan: { user_id: userId, session_id: sessionId, version, title },
  onAsked,
  texts,
  errors,
}: Props) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorCode | null>(null);

  async function ask(comment = texts.comment) {
    setBusy(true);
    setError(null);
    try {
      await requestChanges(await loadClient(), { sessionId, version, comment, userId });
    } catch (error) {
      setError(errorCode(error));
    }
    await onAsked();
    setBusy(false);
  }

  return (
    <>
      <Confirm
        title={
          <>
            {texts.before} <PlainText>{title}</PlainText> {texts.after}
          </>
        }
        question={texts.question}
        confirm={texts.confirm}
        comment="optional"
        disabled={busy}
        onConfirm={(comment) => void ask(comment)}
      >
        <MessageSquareReply aria-hidden /> {texts.ask}
      </Confirm>
      {error && (
        <p role="alert" className="text-sm text-destructive">
          {errors[error]}
        </p>
      )}
    </>
  );
}
