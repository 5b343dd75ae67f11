"use client";

import { Check, Copy } from "lucide-react";
import { use, useState } from "react";
import { Button } from "@/components/ui/button";
import { DocumentTextsContext } from "./texts";

/** A document's SHA-256: shown shortened, copied in full. */
export function Fingerprint({ hash }: { hash: string | undefined }) {
  const texts = use(DocumentTextsContext);
  const [copied, setCopied] = useState<string>();
  const isCopied = hash !== undefined && copied === hash;
  return (
    <span className="inline-flex items-center gap-1.5">
      <span>
        SHA-256{" "}
        <code className="font-mono text-[0.92em]" title={hash}>
          {hash ? `${hash.slice(0, 8)}…${hash.slice(-8)}` : "…"}
        </code>
      </span>
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={texts.copyHash}
        title={texts.copyHash}
        disabled={!hash}
        onClick={() => {
          void navigator.clipboard.writeText(hash ?? "").then(() => {
            setCopied(hash);
          });
        }}
      >
        {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
      </Button>
      <span role="status">{isCopied && texts.hashCopied}</span>
    </span>
  );
}
