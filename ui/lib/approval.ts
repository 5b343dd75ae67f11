import { z } from "zod";

/** What to approve. Types and sizes only: the service and the database check the values. */
export const ApprovalInput = z.strictObject({
  /** The planning session's id. */
  plan_id: z.string().max(200),
  title: z.string().max(10_000),
  content: z.string().max(1024 * 1024),
  version: z.int(),
  /** SHA-256 (hex) of the document that the user saw. Another document is refused. */
  content_sha256: z.string().max(100).optional(),
});

/** What the page needs of the service's answer to an approval. */
export const Approval = z.object({
  agent_id: z.uuid(),
  agent_status: z.enum(["building", "active", "paused", "archived", "failed"]),
  /** The plan row's id, not the session's. */
  plan_id: z.uuid(),
  version: z.int(),
  /** False if this version was approved before. */
  created: z.boolean(),
});

export type ApprovalInput = z.infer<typeof ApprovalInput>;
export type Approval = z.infer<typeof Approval>;
