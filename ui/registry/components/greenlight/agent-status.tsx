"use client";

import { CircleStop, RotateCw } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/skeleton";
import { useAgent, type AgentState } from "@/hooks/use-agent";
import { mayManage, retryBuild, stopBuild, type Build, type Supabase } from "@/lib/greenlight/client";
import { errorCode, type ErrorCode } from "@/lib/greenlight/errors";
import { nameOf } from "@/lib/greenlight/people";
import { EarlierBuilds } from "./agent-status/earlier-builds";
import { BuildLog } from "./agent-status/log";
import { ApprovalNote } from "./agent-status/note";
import { Result } from "./agent-status/result";
import { agentStatusTexts, type AgentStatusTexts } from "./agent-status/texts";
import { Callout } from "./callout";
import { Confirm } from "./confirm";
import { PlainText } from "./plain-text";
import { Progress } from "./progress";
import { Status } from "./status";
import { Time } from "./time";

export { agentStatusTexts };

interface Props {
  agentId: string;
  texts?: Partial<AgentStatusTexts>;
}

/** What became of an agent: its status, its build as it goes on, stops or is tried again, what it made and what it wrote. */
export function AgentStatus({ agentId, texts }: Props) {
  // Another agent starts from nothing.
  return <Watched key={agentId} agentId={agentId} texts={texts} />;
}

function Watched({ agentId, texts }: { agentId: string; texts: Partial<AgentStatusTexts> | undefined }) {
  return <AgentStatusView {...useAgent(agentId)} texts={texts} />;
}

/** The same for a page that watches the agent itself, with `useAgent`. */
export function AgentStatusView({
  agent,
  error,
  busy,
  act,
  texts,
}: AgentState & { texts?: Partial<AgentStatusTexts> | undefined }) {
  const t = { ...agentStatusTexts, ...texts };
  const [problem, setProblem] = useState<ErrorCode>();
  if (agent === null) return <Problem>{t.error("agent_not_found")}</Problem>;
  if (!agent)
    return error ? <Problem>{t.error(errorCode(error))}</Problem> : <Skeleton className="h-6" aria-busy />;

  async function run(call: (supabase: Supabase, id: string) => Promise<unknown>) {
    setProblem(await act(call));
  }

  const { status, build, plan, people } = agent;
  const mayAct = mayManage(people, agent);
  return (
    <section aria-label={t.title} className="grid gap-3 text-sm *:mb-0">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span role="status">
          <Status status={status}>{t.status[status]}</Status>
        </span>
        <span className="text-muted-foreground">{t.meaning[status]}</span>
        {agent.user_id !== people.id && (
          <span className="text-muted-foreground">
            {t.of(nameOf(agent.user_id, people, ""))} {!mayAct && t.youOnlyRead}
          </span>
        )}
      </div>
      {status === "building" && build && (
        <Running build={build} texts={t}>
          {mayAct && (
            <Confirm
              title={t.stopTitle}
              question={t.stopQuestion}
              confirm={t.stop}
              danger
              disabled={busy}
              onConfirm={() => void run(stopBuild)}
            >
              <CircleStop aria-hidden /> {t.stop}
            </Confirm>
          )}
        </Running>
      )}
      {status === "failed" && (
        <Failed build={build} texts={t}>
          {mayAct && (
            <Button type="button" disabled={busy} onClick={() => void run(retryBuild)}>
              <RotateCw aria-hidden /> {t.retry}
            </Button>
          )}
        </Failed>
      )}
      {status === "active" && build?.message && (
        <p className="[overflow-wrap:anywhere]">
          <PlainText>{build.message}</PlainText>
        </p>
      )}
      {problem && <Problem>{t.error(problem)}</Problem>}
      {build && <Result build={build} texts={t} />}
      <ApprovalNote plan={plan} texts={t} />
      {build && (
        <BuildLog
          key={build.id}
          build={build}
          isOpen={status === "building" || status === "failed"}
          texts={t}
        />
      )}
      <EarlierBuilds agent={agent} texts={t} />
    </section>
  );
}

interface BuildProps {
  build: Build;
  texts: AgentStatusTexts;
  /** The button. */
  children: React.ReactNode;
}

/** How far the build is, and what can be done about it. */
function Running({ build, texts, children }: BuildProps) {
  const { status, attempt, max_attempts: most, message, run_after } = build;
  const isQueued = status === "queued";
  return (
    <div className="grid gap-1.5">
      <div className="flex items-center gap-4">
        <Progress build={build} label={texts.progress} className="grow" />
        {children}
      </div>
      <p className="flex flex-wrap gap-x-4 gap-y-0.5 [overflow-wrap:anywhere]">
        <PlainText>{message ?? (isQueued ? texts.queued : texts.running)}</PlainText>
        {!isQueued && <span className="text-muted-foreground">{texts.attempt(attempt, most)}</span>}
        {isQueued && attempt > 0 && (
          <span className="text-muted-foreground">
            {texts.nextAttempt(attempt, most)} <Time at={run_after} />
          </span>
        )}
      </p>
    </div>
  );
}

/** Why there is no agent: the build failed, or was stopped. */
function Failed({ build, texts, children }: Omit<BuildProps, "build"> & { build: Build | null }) {
  return (
    <Callout
      tone={build?.status === "cancelled" ? "warning" : "danger"}
      text={
        <p className="flex flex-wrap gap-x-4 gap-y-0.5">
          <PlainText>{build?.message ?? texts.noReason}</PlainText>
          {build && build.attempt > 0 && (
            <span className="text-muted-foreground">{texts.attempt(build.attempt, build.max_attempts)}</span>
          )}
        </p>
      }
    >
      {children}
    </Callout>
  );
}

function Problem({ children }: { children: string }) {
  return <Callout tone="danger" text={children} />;
}
