import { deletedAgents, listAgents, type AgentStatus, type AgentSummary } from "greenlight-client";
import { Sprout } from "lucide-react";
import type { Metadata } from "next";
import Link from "next/link";
import { AgentRows } from "@/components/agent-rows";
import { Pager, pageNumber } from "@/components/greenlight/pager";
import { RestoreButton } from "@/components/restore-button";
import { Time } from "@/components/greenlight/time";
import { requireUser } from "@/lib/supabase/server";

const STATUSES: AgentStatus[] = ["building", "active", "paused", "failed", "archived"];
const PAGE_SIZE = 20;

export const metadata: Metadata = { title: "Agents" };

interface Props {
  searchParams: Promise<{ status?: string | string[]; page?: string | string[] }>;
}

export default async function AgentsPage({ searchParams }: Props) {
  const params = await searchParams;
  const { supabase } = await requireUser("/agents");
  const deleted = await deletedAgents(supabase);
  const showDeleted = params.status === "deleted";
  const status = STATUSES.find((status) => status === params.status) ?? null;
  const page = pageNumber(params.page);

  return (
    <main id="content" className="page narrow">
      <div className="list-head">
        <h1>Agents</h1>
        <Link className="button primary" href="/build">
          Open a plan
        </Link>
      </div>
      <nav className="filters" aria-label="Filter by status">
        <Filter href="/agents" current={!status && !showDeleted}>
          All
        </Filter>
        {STATUSES.map((value) => (
          <Filter key={value} href={`/agents?status=${value}`} current={status === value}>
            <span className="capital">{value}</span>
          </Filter>
        ))}
        {(deleted.length > 0 || showDeleted) && (
          <Filter href="/agents?status=deleted" current={showDeleted}>
            Recently deleted
          </Filter>
        )}
      </nav>
      {showDeleted ? (
        deleted.length === 0 ? (
          <p className="empty-note">There are no deleted agents.</p>
        ) : (
          <ul className="rows">
            {deleted.map(({ id, name, deleted_at }) => (
              <li key={id}>
                <Link href={`/build/${id}`}>
                  <strong>{name}</strong>
                  <span className="muted">
                    deleted <Time at={deleted_at ?? ""} />
                  </span>
                </Link>
                <RestoreButton id={id} label={`Restore ${name}`} />
              </li>
            ))}
          </ul>
        )
      ) : (
        <Agents
          {...await listAgents(supabase, { status, page, pageSize: PAGE_SIZE })}
          status={status}
          page={page}
        />
      )}
    </main>
  );
}

interface AgentsProps {
  agents: AgentSummary[];
  more: boolean;
  status: AgentStatus | null;
  page: number;
}

function Agents({ agents, more, status, page }: AgentsProps) {
  if (agents.length === 0) {
    if (page > 1) return <p className="empty-note">There are no more agents.</p>;
    if (status) return <p className="empty-note">No agent is {status}.</p>;
    return (
      <div className="empty">
        <Sprout aria-hidden />
        <h2>No agents yet</h2>
        <p>
          When you approve a plan, an agent is built from it. Open a plan of your own, or start from the
          example.
        </p>
        <Link className="button" href="/build">
          Open your first plan
        </Link>
      </div>
    );
  }
  const address = (page: number) => {
    const query = new URLSearchParams({ ...(status && { status }), ...(page > 1 && { page: String(page) }) });
    return query.size > 0 ? `/agents?${query.toString()}` : "/agents";
  };
  return (
    <>
      <AgentRows initial={agents} status={status} page={page} pageSize={PAGE_SIZE} />
      <Pager
        label="Pages"
        page={page}
        pageSize={PAGE_SIZE}
        shown={agents.length}
        more={more}
        href={address}
      />
    </>
  );
}

function Filter({ href, current, children }: { href: string; current: boolean; children: React.ReactNode }) {
  return (
    <Link href={href} aria-current={current ? "page" : undefined}>
      {children}
    </Link>
  );
}
