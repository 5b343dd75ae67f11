"use client";

import { listAgents, type AgentStatus, type AgentSummary } from "greenlight-client";
import { agentStatusTexts } from "@/components/greenlight/agent-status/texts";
import { Progress } from "@/components/greenlight/progress";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";
import { useWatch } from "@/hooks/use-watch";
import { loadClient } from "@/lib/greenlight/load-client";
import { visibleText } from "@/lib/greenlight/visible";
import { Row, Rows } from "./rows";

interface Props {
  initial: AgentSummary[];
  status: AgentStatus | null;
  page: number;
  pageSize: number;
}

/** One page of the agents, each with the progress of its build. */
export function AgentRows({ initial, status, page, pageSize }: Props) {
  const { value: agents } = useWatch(
    initial,
    async () => (await listAgents(await loadClient(), { status, page, pageSize })).agents,
    (agents) => agents.some(({ status }) => status === "building"),
  );
  return (
    <Rows>
      {agents.map(({ id, name, status, created_at, plan, build }) => (
        <Row key={id} href={`/build/${id}`} title={name ?? ""}>
          {status === "building" && build && (
            <Progress
              build={build}
              label={`Progress of ${visibleText(name ?? "")}`}
              className="w-32 max-sm:w-full"
            />
          )}
          <Status status={status}>{agentStatusTexts.status[status]}</Status>
          <span>Version {plan.version}</span>
          <Time at={created_at} />
        </Row>
      ))}
    </Rows>
  );
}
