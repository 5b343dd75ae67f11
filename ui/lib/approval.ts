import { z } from "zod";

/** What to approve. Types and sizes only: the service and the database judge the values. */
export const ApprovalInput = z.strictObject({
  /** The planning session's id. */
  plan_id: z.string().max(200),
  title: z.string().max(10_000),
  content: z.string().max(1024 * 1024),
  version: z.int(),
  /** SHA-256 of the document that the user saw, in hex: then nothing else is approved. */
  content_sha256: z.string().max(100).optional(),
});

/** The service's answer to an approval. */
export const Approval = z.object({
  success: z.literal(true),
  message: z.string(),
  /** The service gives one out. */
  document_url: z.string().optional(),
  agent_id: z.uuid(),
  agent_status: z.string(),
  /** The plan row's id, not the session's. */
  plan_id: z.uuid(),
  version: z.int(),
  /** False if this very revision had been approved before. */
  created: z.boolean(),
});

export type ApprovalInput = z.infer<typeof ApprovalInput>;
export type Approval = z.infer<typeof Approval>;

export type Step = "sending" | "uploading" | "creating";
