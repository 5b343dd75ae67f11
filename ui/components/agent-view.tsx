"use client";

import * as Tabs from "@radix-ui/react-tabs";
import {
  archiveAgent,
  deleteAgent,
  getAgent,
  pauseAgent,
  resumeAgent,
  retryBuild,
  type AgentDetails,
  type AgentStatus,
  type Plan,
  type Supabase,
} from "greenlight-client";
import { Archive, Pause, PencilLine, Play, ShieldCheck, ShieldX, Trash2 } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useEffect, useState } from "react";
import { toast } from "sonner";
import { errorCode, errorMessage } from "@/lib/greenlight/errors";
import { restoreAgent } from "./restore-agent";
import { loadClient } from "@/lib/greenlight/load-client";
import { useDocument } from "@/components/greenlight/document/use-document";
import { useReading } from "@/components/greenlight/document/use-reading";
import { useWatch } from "@/hooks/use-watch";
import { visibleText } from "@/lib/greenlight/visible";
import { BuildState } from "./build-state";
import { Callout } from "@/components/greenlight/callout";
import { Confirm } from "@/components/greenlight/confirm";
import { ChangesSince } from "@/components/greenlight/document/changes-since";
import { Fingerprint } from "@/components/greenlight/document/fingerprint";
import { MarkdownDocument } from "@/components/greenlight/document/document";
import { PlainText } from "@/components/greenlight/plain-text";
import { Status } from "@/components/greenlight/status";
import { Time } from "@/components/greenlight/time";
import { Timeline } from "./timeline";

const MEANING: Record<AgentStatus, string> = {
  building: "Approved. This page updates by itself.",
  active: "The agent is active.",
  paused: "The agent is paused until you resume it.",
  archived: "The agent is archived permanently. You can still read its plans and its history.",
  failed: "The build failed. Try again, or revise the plan.",
};

/** An agent: its status, its plan and its history. */
export function AgentView({ initial }: { initial: AgentDetails }) {
  const router = useRouter();
  const { value, reload } = useWatch<AgentDetails | null>(
    initial,
    async () => getAgent(await loadClient(), initial.id),
    (agent) => agent?.status === "building",
  );
  // Deleted in another tab: the server knows what to show instead.
  const isGone = value === null;
  useEffect(() => {
    if (isGone) router.refresh();
  }, [isGone, router]);

  const [busy, setBusy] = useState(false);
  const [tab, setTab] = useState("document");
  const agent = value ?? initial;
  const current = agent.plan;
  const { approved } = agent;
  const proposal = agent.plans.find(({ status }) => status === "proposed");

  async function act(call: (supabase: Supabase, id: string) => Promise<unknown>, done: string) {
    setBusy(true);
    try {
      await call(await loadClient(), agent.id);
      toast.success(done);
    } catch (error) {
      toast.error(errorMessage(errorCode(error)));
    }
    await reload();
    setBusy(false);
  }

  async function remove() {
    setBusy(true);
    try {
      await deleteAgent(await loadClient(), agent.id);
    } catch (error) {
      setBusy(false);
      toast.error(errorMessage(errorCode(error)));
      return;
    }
    router.push("/agents");
    router.refresh();
    toast.success(`Deleted ${visibleText(agent.name ?? "")}`, {
      duration: 10_000,
      action: {
        label: "Undo",
        onClick: () => {
          void restoreAgent(agent.id).then((restored) => {
            if (restored) router.push(`/build/${agent.id}`);
            router.refresh();
          });
        },
      },
    });
  }

  return (
    <main id="content" className="page">
      <div className="agent-head">
        <div>
          <p className="agent-status" aria-live="polite">
            <Status status={agent.status} />
          </p>
          <h1>
            <PlainText>{agent.name ?? ""}</PlainText>
          </h1>
          <p className="lead">{MEANING[agent.status]}</p>
        </div>
        <div className="agent-actions">
          {agent.status !== "archived" && (
            <Link className="button" href={`/build?session=${agent.session_id}`}>
              <PencilLine aria-hidden /> Revise
            </Link>
          )}
          {agent.status === "active" && (
            <Confirm
              title={about("Pause", agent.name)}
              question="It stops working until you resume it."
              confirm="Pause"
              disabled={busy}
              onConfirm={() => void act(pauseAgent, "Agent paused")}
            >
              <Pause aria-hidden /> Pause
            </Confirm>
          )}
          {agent.status === "paused" && (
            <Confirm
              title={about("Resume", agent.name)}
              question="It starts working again at once."
              confirm="Resume"
              disabled={busy}
              onConfirm={() => void act(resumeAgent, "Agent resumed")}
            >
              <Play aria-hidden /> Resume
            </Confirm>
          )}
          {agent.status !== "archived" && (
            <Confirm
              title={about("Archive", agent.name)}
              question="This is final: an archived agent stops working and cannot get a new plan. You can still read its history."
              confirm="Archive"
              danger
              disabled={busy}
              onConfirm={() => void act(archiveAgent, "Agent archived")}
            >
              <Archive aria-hidden /> Archive
            </Confirm>
          )}
          <Confirm
            title={about("Delete", agent.name)}
            question="The agent and its plans disappear from your lists. You can restore them from Recently deleted."
            confirm="Delete"
            danger
            disabled={busy}
            onConfirm={() => void remove()}
          >
            <Trash2 aria-hidden /> Delete
          </Confirm>
        </div>
        <BuildState
          status={agent.status}
          build={agent.build}
          busy={busy}
          onRetry={() => void act(retryBuild, "Building again")}
        />
      </div>

      {proposal && (
        <div className="agent-proposal">
          <Callout tone="info" text={`Version ${proposal.version} is proposed and waits for your decision.`}>
            <Link className="button" href={`/build?session=${agent.session_id}`}>
              Review it
            </Link>
          </Callout>
        </div>
      )}

      <div className="agent-body">
        <Tabs.Root value={tab} onValueChange={setTab} className="agent-document">
          <div className="agent-tabs">
            <Tabs.List className="tabs" aria-label="What the agent is built from">
              <Tabs.Trigger value="document">Approved plan</Tabs.Trigger>
              <Tabs.Trigger value="changes">Changes</Tabs.Trigger>
            </Tabs.List>
            <span className="version">Version {current.version}</span>
          </div>
          <Tabs.Content value="document" className="tab" tabIndex={-1}>
            <ApprovedDocument plan={current} />
          </Tabs.Content>
          <Tabs.Content value="changes" className="tab" tabIndex={-1}>
            {approved.length > 1 ? (
              <VersionChanges plans={approved} />
            ) : (
              <p className="empty-note">
                This is the first version. After you revise the plan, you see the changes here.
              </p>
            )}
          </Tabs.Content>
        </Tabs.Root>
        <aside className="agent-aside">
          <section aria-labelledby="history">
            <h2 id="history">History</h2>
            <Timeline events={agent.events} plans={agent.plans} />
          </section>
          <section aria-labelledby="versions">
            <h2 id="versions">Versions</h2>
            <ol className="versions">
              {approved.map((plan) => (
                <li key={plan.id} aria-current={plan.id === current.id ? "true" : undefined}>
                  <span className="version">Version {plan.version}</span>
                  <span className="muted">
                    <Time at={plan.created_at} />
                  </span>
                  <span className="versions-title">
                    <PlainText>{plan.title}</PlainText>
                  </span>
                </li>
              ))}
            </ol>
          </section>
        </aside>
      </div>
    </main>
  );
}

function ApprovedDocument({ plan }: { plan: Plan }) {
  const { data, error } = useDocument(plan);
  const reading = useReading(data?.content ?? undefined, undefined);
  if (error) return <p className="empty-note">{errorMessage(error)}</p>;
  if (!data) return <div className="skeleton" aria-busy="true" />;
  return (
    <>
      <p className="fingerprint-line">
        <Fingerprint hash={plan.document_sha256} />
        {data.verified ? (
          <span className="fact good">
            <ShieldCheck aria-hidden /> This is the approved document
          </span>
        ) : (
          <span className="fact bad" role="alert">
            <ShieldX aria-hidden /> This is not the approved document
          </span>
        )}
      </p>
      {data.content === null ? (
        <p className="empty-note">The document is not UTF-8 text.</p>
      ) : (
        <MarkdownDocument reading={reading} content={data.content} />
      )}
    </>
  );
}

function VersionChanges({ plans }: { plans: Plan[] }) {
  const [from, setFrom] = useState(plans[1]?.id);
  const [to, setTo] = useState(plans[0]?.id);
  const base = plans.find(({ id }) => id === from);
  const before = useDocument(base);
  const after = useDocument(plans.find(({ id }) => id === to));
  const content = after.data?.content ?? undefined;
  const reading = useReading(before.data && content, before.data?.content ?? "");
  return (
    <>
      <div className="compare">
        <VersionSelect label="From" plans={plans} value={from} onChange={setFrom} />
        <VersionSelect label="To" plans={plans} value={to} onChange={setTo} />
      </div>
      {before.error || after.error ? (
        <p className="empty-note">The documents could not be loaded. Reload the page to try again.</p>
      ) : base && content !== undefined ? (
        <>
          <ChangesSince base={base} reading={reading} />
          <MarkdownDocument reading={reading} content={content} />
        </>
      ) : (
        <div className="skeleton" aria-busy="true" />
      )}
    </>
  );
}

interface VersionSelectProps {
  label: string;
  plans: Plan[];
  value: string | undefined;
  onChange: (id: string) => void;
}

/** A planner chooses the name: isolated, it cannot turn around the words beside it. */
function about(act: string, name: string | null) {
  return (
    <>
      {act} <PlainText>{name ?? ""}</PlainText>?
    </>
  );
}

function VersionSelect({ label, plans, value, onChange }: VersionSelectProps) {
  return (
    <label>
      {label}
      <select
        value={value}
        onChange={(event) => {
          onChange(event.target.value);
        }}
      >
        {plans.map(({ id, version, title }) => (
          <option key={id} value={id}>
            Version {version}: {visibleText(title)}
          </option>
        ))}
      </select>
    </label>
  );
}
