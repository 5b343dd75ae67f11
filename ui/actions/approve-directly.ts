import { StorageApiError } from "@supabase/supabase-js";
import { encode, sha256 } from "@/lib/document";
import { databaseErrorCode, failure, type ErrorCode } from "@/lib/errors";
import { createClient } from "@/lib/supabase/client";
import type { ActionResult, ApprovePlanInput, Step } from "./approve-plan";

const SIGNED_URL_SECONDS = 3600;
// A clean-up may take the document between the upload and the approval; it does not happen twice in a row by chance.
const ATTEMPTS = 3;

/** Approves without a service: storage and the database decide as they do for it. */
export async function approveDirectly(
  input: ApprovePlanInput,
  onStep: (step: Step) => void,
): Promise<ActionResult> {
  const supabase = createClient();
  const { data: claims, error: claimsError } = await supabase.auth.getClaims();
  if (!claims)
    return failure(
      claimsError?.name === "AuthRetryableFetchError" ? "upstream_unavailable" : "not_authenticated",
    );

  const bytes = encode(input.content);
  const hash = await sha256(bytes);
  if (hash !== input.content_sha256) return failure("document_changed");
  const path = `${claims.claims.sub}/${input.plan_id}/${hash}.md`;
  const bucket = supabase.storage.from("plans");

  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    onStep("uploading");
    const uploaded = await bucket.upload(path, new Blob([bytes], { type: "text/markdown" }), {
      contentType: "text/markdown",
      upsert: false,
    });
    // The path holds the hash: what is there already is this very document.
    if (uploaded.error && !isDuplicate(uploaded.error)) return failure(storageErrorCode(uploaded.error));

    const signed = await bucket.createSignedUrl(path, SIGNED_URL_SECONDS);
    if (signed.error) {
      if (statusOf(signed.error) === 404) continue;
      return failure(storageErrorCode(signed.error));
    }

    onStep("creating");
    const { data, error } = await supabase.rpc("approve_plan", {
      session_id: input.plan_id,
      version: input.version,
      title: input.title,
      document_sha256: hash,
      document_url: signed.data.signedUrl,
    });
    if (error) {
      const code = databaseErrorCode(error);
      if (code === "document_not_found") continue;
      return failure(code);
    }
    const { agent_id, agent_status, plan_id, version, created } = data;
    if (!agent_id || !agent_status || !plan_id || version === null || created === null)
      return failure("upstream_error");
    return {
      success: true,
      data: {
        success: true,
        message: "Plan approved and agent created successfully",
        document_url: signed.data.signedUrl,
        agent_id,
        agent_status,
        plan_id,
        version,
        created,
      },
    };
  }
  return failure("upstream_error");
}

/** Storage answers nearly every error as a 400 and says the true status in the body. */
function statusOf(error: Error): number {
  return error instanceof StorageApiError ? Number(error.statusCode) || error.status : 0;
}

function isDuplicate(error: Error): boolean {
  return statusOf(error) === 409;
}

function storageErrorCode(error: Error): ErrorCode {
  const status = statusOf(error);
  if (status === 0 || status === 429 || status === 503) return "upstream_unavailable";
  if (status === 504) return "upstream_timeout";
  if (status === 413) return "document_too_large";
  if (status === 401 || (status === 403 && /jwt|token|signature|expired/i.test(error.message)))
    return "not_authenticated";
  return "upstream_error";
}
