"use client";

import * as Tabs from "@radix-ui/react-tabs";
import { Archive, Pause, PencilLine, Play, ShieldCheck, ShieldX, Trash2 } from "lucide-react";
import dynamic from "next/dynamic";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { toast } from "sonner";
import useSWR from "swr";
import {
  isStatus,
  loadAgent,
  loadDocument,
  type Agent,
  type Plan,
  type Status as AgentStatus,
} from "@/lib/agents";
import { decode, sha256 } from "@/lib/document";
import { databaseErrorCode, explain } from "@/lib/errors";
import { createClient } from "@/lib/supabase/client";
import { Confirm } from "./confirm";
import { Fingerprint } from "./fingerprint";
import { MarkdownDocument } from "./markdown";
import { restoreAgent } from "./restore-agent";
import { Status } from "./status";
import { Time } from "./time";
import { Timeline } from "./timeline";

const Changes = dynamic(() => import("./changes").then(({ Changes }) => Changes), { ssr: false });

const BUILDING_POLL_MS = 2_000;
const SETTLED_POLL_MS = 20_000;

const MEANING: Record<AgentStatus, string> = {
  building: "The plan is with the builder. This page shows by itself when the agent is ready.",
  active: "The agent is built and at work.",
  paused: "The agent rests until you resume it.",
  archived: "The agent is retired for good. Its plans and its history stay.",
};

/** An agent: what it is doing, what it is built from, and everything that happened to it. */
export function AgentView({ initial }: { initial: Agent }) {
  const router = useRouter();
  // SWR pauses in a hidden tab, and looks again when the tab is shown.
  const { data, mutate } = useSWR(["agent", initial.id], () => loadAgent(createClient(), initial.id), {
    fallbackData: initial,
    // Shorter than the quickest poll, or it would swallow every other one.
    dedupingInterval: 500,
    // Before the first answer, SWR asks without any data.
    refreshInterval: (agent = initial) => (agent?.status === "building" ? BUILDING_POLL_MS : SETTLED_POLL_MS),
    onSuccess: (agent) => {
      // Deleted in another tab: the server knows what to show instead.
      if (!agent) router.refresh();
    },
  });
  const [busy, setBusy] = useState(false);
  const [tab, setTab] = useState("document");
  const agent = data ?? initial;
  const name = agent.name ?? agent.plan.title;
  const current = agent.plan;

  async function act(call: PromiseLike<{ error: { code: string; message: string } | null }>, done: string) {
    setBusy(true);
    const { error } = await call;
    await mutate().catch(() => undefined);
    setBusy(false);
    if (error) toast.error(explain(databaseErrorCode(error)));
    else toast.success(done);
  }

  function transition(to: AgentStatus, done: string) {
    void act(createClient().rpc("transition_agent", { agent_id: agent.id, to_status: to }), done);
  }

  async function remove() {
    setBusy(true);
    const { error } = await createClient().rpc("delete_agent", { agent_id: agent.id });
    if (error) {
      setBusy(false);
      toast.error(explain(databaseErrorCode(error)));
      return;
    }
    router.push("/agents");
    router.refresh();
    toast.success(`Deleted ${name}`, {
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
          <h1>{name}</h1>
          <p className="lead">{isStatus(agent.status) && MEANING[agent.status]}</p>
        </div>
        <div className="agent-actions">
          {agent.status !== "archived" && (
            <Link className="button" href={`/build?session=${agent.session_id}`}>
              <PencilLine aria-hidden /> Revise
            </Link>
          )}
          {agent.status === "active" && (
            <Confirm
              title={`Pause ${name}?`}
              question="It stops working until you resume it."
              confirm="Pause"
              disabled={busy}
              onConfirm={() => {
                transition("paused", "Agent paused");
              }}
            >
              <Pause aria-hidden /> Pause
            </Confirm>
          )}
          {agent.status === "paused" && (
            <Confirm
              title={`Resume ${name}?`}
              question="It goes back to work at once."
              confirm="Resume"
              disabled={busy}
              onConfirm={() => {
                transition("active", "Agent resumed");
              }}
            >
              <Play aria-hidden /> Resume
            </Confirm>
          )}
          {agent.status !== "archived" && (
            <Confirm
              title={`Archive ${name}?`}
              question="This is final: an archived agent neither works nor takes a new plan. Its history stays readable."
              confirm="Archive"
              danger
              disabled={busy}
              onConfirm={() => {
                transition("archived", "Agent archived");
              }}
            >
              <Archive aria-hidden /> Archive
            </Confirm>
          )}
          <Confirm
            title={`Delete ${name}?`}
            question="The agent and its plans disappear from your lists. You can restore them from Recently deleted."
            confirm="Delete"
            danger
            disabled={busy}
            onConfirm={() => void remove()}
          >
            <Trash2 aria-hidden /> Delete
          </Confirm>
        </div>
      </div>

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
            {agent.plans.length > 1 ? (
              <VersionChanges plans={agent.plans} />
            ) : (
              <p className="empty-note">
                This is the first version. Revise the plan, and the changes are shown here.
              </p>
            )}
          </Tabs.Content>
        </Tabs.Root>
        <aside className="agent-aside">
          <section aria-labelledby="history">
            <h2 id="history">History</h2>
            <Timeline events={agent.agent_event} />
          </section>
          <section aria-labelledby="versions">
            <h2 id="versions">Versions</h2>
            <ol className="versions">
              {agent.plans.map((plan) => (
                <li key={plan.id} aria-current={plan.id === current.id ? "true" : undefined}>
                  <span className="version">Version {plan.version}</span>
                  <span className="muted">
                    <Time at={plan.created_at} />
                  </span>
                  <span className="versions-title">{plan.title}</span>
                </li>
              ))}
            </ol>
          </section>
        </aside>
      </div>
    </main>
  );
}

/** A document and the hash of what really arrived. What was approved once never changes: it is fetched once. */
function useDocument(plan: Plan | undefined) {
  return useSWR(
    plan ? ["approved", plan.document_path] : null,
    async ([, path]) => {
      const bytes = await loadDocument(createClient(), path);
      return { content: decode(bytes), hash: "subtle" in crypto ? await sha256(bytes) : undefined };
    },
    { revalidateOnFocus: false, revalidateIfStale: false },
  );
}

function ApprovedDocument({ plan }: { plan: Plan }) {
  const document = useDocument(plan);
  const data = document.data;
  if (document.error)
    return <p className="empty-note">The document could not be loaded. Reload the page to try again.</p>;
  if (!data) return <div className="skeleton" aria-busy="true" />;
  return (
    <>
      <p className="fingerprint-line">
        <Fingerprint hash={plan.document_sha256} />
        {data.hash === plan.document_sha256 && (
          <span className="fact good">
            <ShieldCheck aria-hidden /> These are the approved bytes
          </span>
        )}
        {data.hash !== undefined && data.hash !== plan.document_sha256 && (
          <span className="fact bad" role="alert">
            <ShieldX aria-hidden /> These are not the approved bytes
          </span>
        )}
      </p>
      <MarkdownDocument content={data.content} />
    </>
  );
}

function VersionChanges({ plans }: { plans: Plan[] }) {
  const [from, setFrom] = useState(plans[1]?.id);
  const [to, setTo] = useState(plans[0]?.id);
  const before = useDocument(plans.find(({ id }) => id === from));
  const after = useDocument(plans.find(({ id }) => id === to));
  return (
    <>
      <div className="compare">
        <VersionSelect label="From" plans={plans} value={from} onChange={setFrom} />
        <VersionSelect label="To" plans={plans} value={to} onChange={setTo} />
      </div>
      {before.error || after.error ? (
        <p className="empty-note">The documents could not be loaded. Reload the page to try again.</p>
      ) : before.data && after.data ? (
        <Changes from={before.data.content} to={after.data.content} />
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
            Version {version}: {title}
          </option>
        ))}
      </select>
    </label>
  );
}
