import { deletedAgents, type AgentStatus } from "greenlight-client";
import type { Metadata } from "next";
import Link from "next/link";
import { AgentRows } from "@/components/agent-rows";
import { EmptyNote } from "@/components/empty-note";
import { agentStatusTexts } from "@/components/greenlight/agent-status/texts";
import { Logo } from "@/components/logo";
import { Page } from "@/components/page";
import { PageTitle } from "@/components/page-title";
import { Pager, pageNumber } from "@/components/greenlight/pager";
import { RestoreButton } from "@/components/restore-button";
import { Row, Rows } from "@/components/rows";
import { Button } from "@/components/ui/button";
import { Time } from "@/components/greenlight/time";
import { loadAgents, type Agents as Loaded } from "@/lib/load-agents";
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
    <Page className="max-w-3xl">
      <PageTitle
        action={
          <Button asChild>
            <Link href="/build">Open a plan</Link>
          </Button>
        }
      >
        Agents
      </PageTitle>
      <nav
        aria-label="Filter by status"
        className="mt-6 mb-4 flex gap-1 overflow-x-auto py-1 [scrollbar-width:none]"
      >
        <Filter href="/agents" current={!status && !showDeleted}>
          All
        </Filter>
        {STATUSES.map((value) => (
          <Filter key={value} href={`/agents?status=${value}`} current={status === value}>
            {agentStatusTexts.status[value]}
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
          <EmptyNote>There are no deleted agents.</EmptyNote>
        ) : (
          <Rows>
            {deleted.map(({ id, name, deleted_at }) => (
              <Row
                key={id}
                href={`/build/${id}`}
                title={name ?? ""}
                action={<RestoreButton id={id} label={`Restore ${name}`} />}
              >
                <span>
                  deleted <Time at={deleted_at ?? ""} />
                </span>
              </Row>
            ))}
          </Rows>
        )
      ) : (
        <Agents
          {...await loadAgents(supabase, { status, page, pageSize: PAGE_SIZE })}
          status={status}
          page={page}
        />
      )}
    </Page>
  );
}

interface AgentsProps extends Loaded {
  status: AgentStatus | null;
  page: number;
}

function Agents({ agents, more, people, status, page }: AgentsProps) {
  if (agents.length === 0) {
    if (page > 1) return <EmptyNote>There are no more agents.</EmptyNote>;
    if (status) return <EmptyNote>No agent is {status}.</EmptyNote>;
    return (
      <div className="grid justify-items-center gap-3 rounded-xl border border-dashed border-input px-6 py-14 text-center">
        <Logo className="h-12 w-6" />
        <h2 className="font-heading text-xl font-semibold">No agents yet</h2>
        <p className="mb-2 max-w-[44ch] text-sm text-balance text-muted-foreground">
          When you approve a plan, an agent is built from it. Open a plan of your own, or start from the
          example.
        </p>
        <Button variant="outline" asChild>
          <Link href="/build">Open your first plan</Link>
        </Button>
      </div>
    );
  }
  const address = (page: number) => {
    const query = new URLSearchParams({ ...(status && { status }), ...(page > 1 && { page: String(page) }) });
    return query.size > 0 ? `/agents?${query.toString()}` : "/agents";
  };
  return (
    <>
      <AgentRows initial={{ agents, more, people }} status={status} page={page} pageSize={PAGE_SIZE} />
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
    <Link
      href={href}
      aria-current={current ? "page" : undefined}
      className="rounded-full border px-3 py-1 text-[13px] font-medium whitespace-nowrap text-muted-foreground hover:bg-accent hover:text-foreground aria-[current]:border-foreground aria-[current]:bg-foreground aria-[current]:text-background"
    >
      {children}
    </Link>
  );
}
