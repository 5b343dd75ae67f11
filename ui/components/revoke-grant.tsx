"use client";

import { useRouter } from "next/navigation";
import { useTransition } from "react";
import { Confirm } from "@/components/greenlight/confirm";
import { PlainText } from "@/components/greenlight/plain-text";
import { loadClient } from "@/lib/greenlight/load-client";
import { problemOf, PROBLEMS } from "@/lib/oauth";
import { toast } from "./toasts";

/** Takes a planner's access away, once the user has confirmed it. */
export function RevokeGrant({ clientId, name }: { clientId: string; name: string }) {
  const router = useRouter();
  const [pending, startTransition] = useTransition();

  async function revoke() {
    const { error } = await (await loadClient()).auth.oauth.revokeGrant({ clientId });
    const problem = error && problemOf(error);
    // Another tab has done it.
    if (problem && problem !== "gone") toast.error(PROBLEMS[problem].text);
    else
      startTransition(() => {
        router.refresh();
      });
  }

  return (
    <Confirm
      title={
        <>
          Revoke <PlainText>{name}</PlainText>?
        </>
      }
      question="It is signed out, and has to ask you again. A token that it already has works until it expires, within an hour as a rule. What it has proposed stays."
      confirm="Revoke"
      danger
      disabled={pending}
      onConfirm={() => void revoke()}
    >
      Revoke
    </Confirm>
  );
}
