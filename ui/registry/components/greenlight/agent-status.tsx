"use client";

import { RotateCw } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { useAgent, type AgentState } from "@/hooks/use-agent";
import { retryBuild, type AgentDetails, type Build } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { agentStatusTexts } from "./agent-status-texts";
import { Callout } from "./callout";
import { PlainText } from "./plain-text";
import { Progress } from "./progress";
import { Status } from "./status";
import { Time } from "./time";

type Texts = typeof agentStatusTexts;

interface Props {
  agentId: string;
  texts?: Partial<Texts>;
}

/** What an agent does: its status, the progress of its build, and a button to try a failed build again. */
export function AgentStatus({ agentId, texts }: Props) {
  // Another agent starts from nothing.
  return <Watched key={agentId} agentId={agentId} texts={texts} />;
}

function Watched({ agentId, texts }: { agentId: string; texts: Partial<Texts> | undefined }) {
  return <AgentStatusView {...useAgent(agentId)} texts={texts} />;
}

/** The same for a page that watches the agent itself, with `useAgent`. */
export function AgentStatusView({
  agent,
  error,
  busy,
  act,
  texts,
}: AgentState & { texts?: Partial<Texts> | undefined }) {
  const t = { ...agentStatusTexts, ...texts };
  const [problem, setProblem] = useState<ErrorCode>();
  if (agent === null) return <Problem>{t.error("agent_not_found")}</Problem>;
  if (!agent)
    return error ? <Problem>{t.error(errorCode(error))}</Problem> : <Skeleton className="h-6" aria-busy />;

  async function retry() {
    setProblem(await act(retryBuild));
  }

  return (
    <section aria-label={t.title} className="grid gap-3 text-sm *:mb-0">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span role="status">
          <Status status={agent.status}>{t.status[agent.status]}</Status>
        </span>
        <span className="text-muted-foreground">{t.meaning[agent.status]}</span>
      </div>
      <BuildState agent={agent} texts={t}>
        <Button type="button" disabled={busy} onClick={() => void retry()}>
          <RotateCw aria-hidden /> {t.retry}
        </Button>
      </BuildState>
      {problem && <Problem>{t.error(problem)}</Problem>}
    </section>
  );
}

interface BuildStateProps {
  agent: AgentDetails;
  texts: Texts;
  /** The button to try again. */
  children: React.ReactNode;
}

/** The progress of the build, why it failed, or what the builder said last. */
function BuildState({ agent: { status, build }, texts, children }: BuildStateProps) {
  switch (status) {
    case "failed":
      return (
        <Problem action={children}>
          <PlainText>{build?.message ?? texts.noReason}</PlainText>
        </Problem>
      );
    case "active":
      return (
        build?.message && (
          <p className="[overflow-wrap:anywhere]">
            <PlainText>{build.message}</PlainText>
          </p>
        )
      );
    case "building":
      return build && <Running build={build} texts={texts} />;
    default:
      return null;
  }
}

function Running({ build, texts }: { build: Build; texts: Texts }) {
  return (
    <div className="grid gap-1.5">
      <Progress build={build} label={texts.progress} />
      <p className="flex flex-wrap gap-x-4 gap-y-0.5 [overflow-wrap:anywhere]">
        <PlainText>{build.message ?? (build.status === "queued" ? texts.queued : texts.running)}</PlainText>
        {build.attempt > 1 && <span className="text-muted-foreground">{texts.attempt(build.attempt)}</span>}
        {build.status === "queued" && build.attempt > 0 && (
          <span className="text-muted-foreground">
            {texts.nextAttempt(build.attempt)} <Time at={build.run_after} />
          </span>
        )}
      </p>
    </div>
  );
}

function Problem({ children, action }: { children: React.ReactNode; action?: React.ReactNode }) {
  return (
    <Callout tone="danger" text={children}>
      {action}
    </Callout>
  );
}
