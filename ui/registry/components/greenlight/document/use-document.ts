import { useLoaded } from "@/hooks/use-loaded";
import { decodeDocument, getDocument, type Plan } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";

/** A plan's stored document, and the hash of the loaded bytes. */
export function useDocument(plan: Pick<Plan, "document_path" | "document_sha256"> | undefined) {
  return useLoaded(`${plan?.document_path ?? ""} ${plan?.document_sha256 ?? ""}`, plan && (() => load(plan)));
}

async function load({ document_path, document_sha256 }: Pick<Plan, "document_path" | "document_sha256">) {
  const document = await getDocument(await loadClient(), { document_path, document_sha256 });
  return { ...document, content: textOf(document.bytes) };
}

/** Null if the bytes are not UTF-8. */
function textOf(bytes: Uint8Array<ArrayBuffer>): string | null {
  try {
    return decodeDocument(bytes);
  } catch {
    return null;
  }
}
