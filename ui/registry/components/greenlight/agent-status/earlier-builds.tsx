import { Callout } from "@/components/greenlight/callout";
import { PlainText } from "@/components/greenlight/plain-text";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { useLoaded } from "@/hooks/use-loaded";
import { listBuilds, type AgentDetails, type Build } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";
import { Fold } from "./fold";
import { BuildLog } from "./log";
import { Result } from "./result";
import type { AgentStatusTexts } from "./texts";

interface Props {
  agent: AgentDetails;
  texts: AgentStatusTexts;
}

/** The builds before the newest one, each with what came of it. Nothing if there is none. */
export function EarlierBuilds({ agent: { id, build, events, plans }, texts }: Props) {
  const starts = events.filter(({ kind, to_status }) => to_status === "building" && kind !== "deleted");
  if (!build || starts.length < 2) return null;
  return (
    <Fold title={texts.earlier}>
      <Builds agentId={id} newest={build} plans={plans} texts={texts} />
    </Fold>
  );
}

interface BuildsProps {
  agentId: string;
  newest: Build;
  plans: AgentDetails["plans"];
  texts: AgentStatusTexts;
}

function Builds({ agentId, newest, plans, texts }: BuildsProps) {
  const { data, error, retry } = useLoaded(newest.id, async () => listBuilds(await loadClient(), agentId));
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
  if (!data) return <Skeleton className="m-4 h-20" aria-busy="true" />;
  return (
    <ol className="divide-y">
      {data
        .filter(({ id }) => id !== newest.id)
        .map((build) => (
          <li key={build.id} className="grid gap-2 px-4 py-3">
            <p className="flex flex-wrap items-center gap-x-3 gap-y-1 text-[13px] text-muted-foreground tabular-nums">
              <Status status={build.status}>{texts.build[build.status]}</Status>
              {plans
                .filter(({ id }) => id === build.plan_id)
                .map(({ version }) => texts.version(version))
                .join()}
              {build.attempt > 0 && <span>{texts.attempt(build.attempt, build.max_attempts)}</span>}
              <Time at={build.finished_at ?? build.created_at} />
            </p>
            {build.message !== null && (
              <p className="[overflow-wrap:anywhere]">
                <PlainText>{build.message}</PlainText>
              </p>
            )}
            <Result build={build} texts={texts} />
            <BuildLog build={build} texts={texts} />
          </li>
        ))}
    </ol>
  );
}
