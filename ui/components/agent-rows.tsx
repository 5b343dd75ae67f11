"use client";

import { listAgents, type AgentStatus, type AgentSummary } from "greenlight-client";
import Link from "next/link";
import { loadClient } from "@/lib/greenlight/load-client";
import { useWatch } from "@/hooks/use-watch";
import { visibleText } from "@/lib/greenlight/visible";
import { Progress } from "@/components/greenlight/progress";
import { PlainText } from "@/components/greenlight/plain-text";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";

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
    <ul className="rows">
      {agents.map(({ id, name, status, created_at, plan, build }) => (
        <li key={id}>
          <Link href={`/build/${id}`}>
            <strong>
              <PlainText>{name ?? ""}</PlainText>
            </strong>
            <span className="rows-facts">
              {status === "building" && build && (
                <Progress build={build} label={`Progress of ${visibleText(name ?? "")}`} />
              )}
              <Status status={status} />
              <span className="muted">Version {plan.version}</span>
              <span className="muted">
                <Time at={created_at} />
              </span>
            </span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
