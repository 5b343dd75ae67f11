"use client";

import { Copy, Fingerprint as FingerprintIcon } from "lucide-react";
import { toast } from "sonner";

/** A document's SHA-256: shown shortened, copied in full. */
export function Fingerprint({ hash }: { hash: string | undefined }) {
  return (
    <span className="fingerprint">
      <FingerprintIcon aria-hidden />
      <span>
        SHA-256 <code title={hash}>{hash ? `${hash.slice(0, 8)}…${hash.slice(-8)}` : "…"}</code>
      </span>
      <button
        type="button"
        className="button quiet small"
        aria-label="Copy the SHA-256"
        title="Copy"
        disabled={!hash}
        onClick={() => {
          void navigator.clipboard.writeText(hash ?? "").then(() => toast("SHA-256 copied"));
        }}
      >
        <Copy aria-hidden />
      </button>
    </span>
  );
}
