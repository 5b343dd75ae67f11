import type { Plan } from "@/lib/greenlight/client";

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

/** Who proposed a plan, for its owner. */
export function proposer(proposedBy: string | null, texts = proposerTexts): string {
  if (proposedBy === "service_role") return texts.yourApp;
  return proposedBy === null || proposedBy === "user" ? texts.you : texts.connectedApp;
}
