import { memo, useState } from "react";
import { Callout } from "@/components/greenlight/callout";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";
import { Button } from "@/components/ui/button";
import { NativeSelect, NativeSelectOption } from "@/components/ui/native-select";
import { Skeleton } from "@/components/ui/skeleton";
import type { BuildDetails } from "@/lib/greenlight/client";
import type { Piece } from "./ansi";
import { Fold } from "./fold";
import type { AgentStatusTexts } from "./texts";
import { useBuildLog } from "./use-build-log";

interface Props {
  build: BuildDetails;
  isOpen?: boolean;
  texts: AgentStatusTexts;
}

/** What the newest attempt at a build wrote, or another one of them. Nothing if the builder shares no log. */
export function BuildLog({ build: { id, logs, max_attempts: most }, isOpen = false, texts }: Props) {
  const [chosen, setChosen] = useState<number>();
  const attempts = logs.toSorted((a, b) => b.attempt - a.attempt);
  const log = attempts.find(({ attempt }) => attempt === chosen) ?? attempts[0];
  if (!log) return null;
  const name = texts.attempt(log.attempt, most);
  return (
    <Fold
      title={texts.log}
      note={
        <>
          {name}, <Time at={log.updated_at} />
        </>
      }
      isOpen={isOpen}
    >
      {attempts.length > 1 && (
        <div className="border-b p-2 sm:max-w-60">
          <NativeSelect
            aria-label={texts.logOf}
            value={log.attempt}
            onChange={(event) => {
              setChosen(Number(event.target.value));
            }}
          >
            {attempts.map(({ attempt }) => (
              <NativeSelectOption key={attempt} value={attempt}>
                {texts.attempt(attempt, most)}
              </NativeSelectOption>
            ))}
          </NativeSelect>
        </div>
      )}
      <Output key={log.attempt} buildId={id} {...log} label={`${texts.log}: ${name}`} texts={texts} />
    </Fold>
  );
}

interface OutputProps {
  buildId: string;
  attempt: number;
  updated_at: string;
  label: string;
  texts: AgentStatusTexts;
}

function Output({ buildId, attempt, updated_at: updatedAt, label, texts }: OutputProps) {
  const { pieces, error, retry } = useBuildLog(buildId, attempt, updatedAt);
  if (error)
    return (
      <div className="p-2 *:mb-0">
        <Callout tone="danger" text={texts.error(error)}>
          <Button variant="outline" size="sm" onClick={retry}>
            {texts.retry}
          </Button>
        </Callout>
      </div>
    );
  if (!pieces) return <Skeleton className="m-4 h-20" aria-busy="true" />;
  return (
    // Upside down, so that its end is shown, and stays in view when there is more.
    <div
      role="region"
      aria-label={label}
      tabIndex={0}
      className="flex max-h-96 flex-col-reverse overflow-y-auto -outline-offset-2!"
    >
      <Text pieces={pieces} />
    </div>
  );
}

const Text = memo(function Text({ pieces }: { pieces: Piece[] }) {
  return (
    <pre
      dir="ltr"
      className="px-4 py-3 font-mono text-xs/relaxed [overflow-wrap:anywhere] whitespace-pre-wrap [tab-size:8]"
    >
      {pieces.map(({ text, className }, at) => (
        <span key={at} className={className}>
          <PlainText>{text}</PlainText>
        </span>
      ))}
    </pre>
  );
});
