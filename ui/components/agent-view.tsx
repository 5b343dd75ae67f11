"use client";

import { deleteAgent, mayDecide, mayManage, resumeAgent, type Supabase } from "greenlight-client";
import { PencilLine, Play } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect } from "react";
import { AgentStatusView } from "@/components/greenlight/agent-status";
import { Callout } from "@/components/greenlight/callout";
import { Confirm } from "@/components/greenlight/confirm";
import { PlainText } from "@/components/greenlight/plain-text";
import { Button } from "@/components/ui/button";
import { useAgent } from "@/hooks/use-agent";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { loadClient } from "@/lib/greenlight/load-client";
import type { ShownAgent } from "@/lib/greenlight/load-agent";
import { reviewOf } from "@/lib/paths";
import { visibleText } from "@/lib/greenlight/visible";
import { restoreAgent } from "./restore-agent";
import { about, AgentMenu } from "./agent-menu";
import { AgentDocuments } from "./agent-documents";
import { Page } from "./page";
import { PageTitle } from "./page-title";
import { Timeline } from "./timeline";
import { Versions } from "./versions";
import { toast } from "./toasts";

/** An agent: its status, its plan and its history. */
export function AgentView({ initial }: { initial: ShownAgent }) {
  const router = useRouter();
  const state = useAgent(initial.id, initial);
  // Deleted in another tab: the server knows what to show instead.
  const isGone = state.agent === null;
  useEffect(() => {
    if (isGone) router.refresh();
  }, [isGone, router]);

  const agent = state.agent ?? initial;
  const { id, name, status, approved, plan, plans, people } = agent;
  const proposal = plans.find(({ status }) => status === "proposed");
  const isOwn = agent.user_id === people.id;
  const decides = mayDecide(people, agent);
  const manages = mayManage(people, agent);
  const review = reviewOf(agent.session_id, isOwn ? undefined : agent.user_id);

  async function act(call: (supabase: Supabase, id: string) => Promise<unknown>, done: string) {
    const problem = await state.act(call);
    if (problem) toast.error(errorMessage(problem));
    else toast.success(done);
  }

  async function remove() {
    try {
      await deleteAgent(await loadClient(), id);
    } catch (error) {
      toast.error(errorMessage(errorCode(error)));
      return;
    }
    router.push("/agents");
    router.refresh();
    toast.success(`Deleted ${visibleText(name ?? "")}`, {
      duration: 10_000,
      action: { label: "Undo", onClick: () => void undo() },
    });
  }

  async function undo() {
    if (await restoreAgent(id)) router.push(`/build/${id}`);
    router.refresh();
  }

  return (
    <Page className="max-w-6xl">
      <header className="grid gap-4 border-b pb-7">
        <PageTitle
          action={
            <div className="flex gap-2">
              {status === "paused" && manages && (
                <Confirm
                  title={about("Resume", name)}
                  question="It starts working again at once."
                  confirm="Resume"
                  disabled={state.busy}
                  onConfirm={() => void act(resumeAgent, "Agent resumed")}
                >
                  <Play aria-hidden /> Resume
                </Confirm>
              )}
              {status !== "archived" && isOwn && decides && (
                <Button variant="outline" asChild>
                  <Link href={review}>
                    <PencilLine aria-hidden /> Revise
                  </Link>
                </Button>
              )}
              {manages && (
                <AgentMenu
                  agent={agent}
                  busy={state.busy}
                  act={(call, done) => void act(call, done)}
                  onDelete={() => void remove()}
                />
              )}
            </div>
          }
        >
          <PlainText>{name ?? ""}</PlainText>
        </PageTitle>
        <AgentStatusView {...state} agent={agent} />
        {proposal && (
          <Callout
            tone="info"
            text={`Version ${proposal.version} is proposed and waits for ${decides ? "your decision" : "an approver of its team"}.`}
          >
            <Button variant="outline" size="sm" asChild>
              <Link href={review}>{decides ? "Review it" : "Read it"}</Link>
            </Button>
          </Callout>
        )}
      </header>

      <div className="grid gap-x-14 gap-y-10 pt-6 lg:grid-cols-[minmax(0,1fr)_17rem]">
        <AgentDocuments name={name ?? ""} plan={plan} approved={approved} />
        <aside className="grid content-start gap-9">
          <Section id="history" title="History">
            <Timeline events={agent.events} plans={plans} people={people} />
          </Section>
          <Section id="versions" title="Versions">
            <Versions plans={approved} current={plan} />
          </Section>
        </aside>
      </div>
    </Page>
  );
}

function Section({ id, title, children }: { id: string; title: string; children: React.ReactNode }) {
  return (
    <section aria-labelledby={id}>
      <h2 id={id} className="mb-3.5 text-sm font-semibold">
        {title}
      </h2>
      {children}
    </section>
  );
}
