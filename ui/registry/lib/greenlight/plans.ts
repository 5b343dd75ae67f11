import type { Plan } from "@/lib/greenlight/client";
import { nameOf, type People } from "@/lib/greenlight/people";

/** Whether a plan was ever approved, even if a newer version has replaced it since. */
export function wasApproved({ status, decided_at }: Pick<Plan, "status" | "decided_at">): boolean {
  return status === "approved" || status === "archived" || (status === "superseded" && decided_at !== null);
}

interface ProposerTexts {
  you: string;
  yourApp: string;
  connectedApp: string;
}

export const proposerTexts: ProposerTexts = {
  you: "you",
  yourApp: "your app",
  connectedApp: "a connected app",
};

/** Who proposed a plan, for its reader. */
export function proposer(
  { proposed_by, user_id }: Pick<Plan, "proposed_by" | "user_id">,
  people: People,
  texts = proposerTexts,
): string {
  if (proposed_by === "service_role") return texts.yourApp;
  return proposed_by === null || proposed_by === "user"
    ? nameOf(user_id, people, texts.you)
    : texts.connectedApp;
}
