import { ExternalLink } from "lucide-react";
import { PlainText } from "@/components/greenlight/plain-text";
import { Button } from "@/components/ui/button";
import { shownResult, type Build } from "@/lib/greenlight/client";
import type { AgentStatusTexts } from "./texts";

/** What a build made: a link that names its host, and a summary. Nothing if the builder said neither. */
export function Result({ build, texts }: { build: Build; texts: AgentStatusTexts }) {
  const { url, summary } = shownResult(build);
  const address = addressOf(url);
  if (!address && summary === null) return null;
  return (
    <section
      aria-label={texts.result}
      className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3 rounded-lg border border-success/30 bg-success/5 px-4 py-3.5"
    >
      {summary !== null && (
        <p className="min-w-0 grow basis-60 leading-relaxed [overflow-wrap:anywhere] whitespace-pre-wrap">
          <PlainText>{summary}</PlainText>
        </p>
      )}
      {address && (
        <Button asChild className="h-auto min-h-9 shrink py-1.5 [overflow-wrap:anywhere] whitespace-normal">
          <a href={address.href} target="_blank" rel="noopener noreferrer">
            {texts.open(address.host)} <ExternalLink aria-hidden />
          </a>
        </Button>
      )}
    </section>
  );
}

function addressOf(url: string | null): URL | null {
  try {
    return url === null ? null : new URL(url);
  } catch {
    return null;
  }
}
