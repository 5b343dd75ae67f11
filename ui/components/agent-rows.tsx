"use client";

import type { AgentStatus } from "greenlight-client";
import { agentStatusTexts } from "@/components/greenlight/agent-status/texts";
import { Progress } from "@/components/greenlight/progress";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";
import { useWatch } from "@/hooks/use-watch";
import { loadClient } from "@/lib/greenlight/load-client";
import { nameOf } from "@/lib/greenlight/people";
import { loadAgents, type Agents } from "@/lib/load-agents";
import { visibleText } from "@/lib/greenlight/visible";
import { Row, Rows } from "./rows";

interface Props {
  initial: Agents;
  status: AgentStatus | null;
  page: number;
  pageSize: number;
}

/** One page of the agents, each with the progress of its build. */
export function AgentRows({ initial, status, page, pageSize }: Props) {
  const { value } = useWatch(
    initial,
    async () => loadAgents(await loadClient(), { status, page, pageSize }),
    // An approval may have made another one.
    ({ agents }) => ({ agentIds: agents.map(({ id }) => id), decided: true }),
  );
  return (
    <Rows>
      {value.agents.map(({ id, user_id, name, status, created_at, plan, build }) => (
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
          {user_id !== value.people.id && <span>of {nameOf(user_id, value.people, "you")}</span>}
          <Time at={created_at} />
        </Row>
      ))}
    </Rows>
  );
}
