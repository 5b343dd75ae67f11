import { decodeDocument, getDocument, type Plan } from "greenlight-client";
import { useEffect, useState } from "react";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";

export interface StoredDocument {
  bytes: Uint8Array<ArrayBuffer>;
  /** Null if the bytes are not UTF-8. */
  content: string | null;
  /** The hash of the loaded bytes. */
  sha256: string;
  /** Whether this is the plan's hash. */
  verified: boolean;
}

interface Loaded {
  path: string;
  data?: StoredDocument;
  error?: ErrorCode;
}

/** A plan's stored document, and the hash of the loaded bytes. Loaded once for each plan. */
export function useDocument(plan: Pick<Plan, "document_path" | "document_sha256"> | undefined) {
  const [loaded, setLoaded] = useState<Loaded>();
  const path = plan?.document_path;
  const hash = plan?.document_sha256;
  useEffect(() => {
    if (path === undefined || hash === undefined) return;
    let current = true;
    load(path, hash).then(
      (data) => {
        if (current) setLoaded({ path, data });
      },
      (error: unknown) => {
        if (current) setLoaded({ path, error: isSecureContext ? errorCode(error) : "insecure_context" });
      },
    );
    return () => {
      current = false;
    };
  }, [path, hash]);
  return loaded?.path === path ? { data: loaded?.data, error: loaded?.error } : {};
}

async function load(document_path: string, document_sha256: string): Promise<StoredDocument> {
  const { bytes, ...rest } = await getDocument(await loadClient(), { document_path, document_sha256 });
  return { bytes, content: textOf(bytes), ...rest };
}

function textOf(bytes: Uint8Array<ArrayBuffer>): string | null {
  try {
    return decodeDocument(bytes);
  } catch {
    return null;
  }
}
