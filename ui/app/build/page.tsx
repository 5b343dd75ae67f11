"use client";

import * as Tabs from "@radix-ui/react-tabs";
import { Check, LoaderCircle } from "lucide-react";
import dynamic from "next/dynamic";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { useEffect, useRef, useState } from "react";
import { toast } from "sonner";
import useSWR from "swr";
import { approvePlan, type Step } from "@/actions/approve-plan";
import { Fingerprint } from "@/components/fingerprint";
import { MarkdownDocument } from "@/components/markdown";
import { Notice } from "@/components/notice";
import { OpenPlan } from "@/components/open-plan";
import { useUser } from "@/components/user";
import { WayOut } from "@/components/way-out";
import { listDeleted, loadDocument, type SessionAgent } from "@/lib/agents";
import { applyEdit, decode, encode, hasByteOrderMark, lineEndings, sha256, toView } from "@/lib/document";
import { edited, opened, saveDraft, sent, useDraft } from "@/lib/draft";
import { databaseErrorCode, explain, type ErrorCode } from "@/lib/errors";
import { useSha256 } from "@/lib/use-sha256";

const Changes = dynamic(() => import("@/components/changes").then(({ Changes }) => Changes), { ssr: false });

const STEPS: Record<Step | "opening", string> = {
  sending: "Uploading and creating the agent…",
  uploading: "Uploading the document…",
  creating: "Creating the agent…",
  opening: "Opening the agent…",
};

/** Loaded when it is needed: reading and editing a plan takes none. */
async function supabase() {
  return (await import("@/lib/supabase/client")).createClient();
}

async function findAgent(sessionId: string): Promise<SessionAgent> {
  const answer = await fetch(`/api/session/${sessionId}`);
  if (!answer.ok) throw new Error("The planning session could not be loaded");
  return (await answer.json()) as SessionAgent;
}

/** The plan under review, at /build?session=<the planning session's id>. */
export default function BuildPage() {
  const sessionId = useSearchParams().get("session");
  if (sessionId === null) return <OpenPlan />;
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(sessionId))
    return (
      <main id="content">
        <Notice title="There is no such planning session">
          <p>{explain("invalid_session_id")}</p>
          <p>
            <Link className="button" href="/build">
              Open a plan
            </Link>
          </p>
        </Notice>
      </main>
    );
  return <Review key={sessionId} sessionId={sessionId} />;
}

function Review({ sessionId }: { sessionId: string }) {
  const user = useUser();
  const router = useRouter();
  const [draft, save] = useDraft(user.id, sessionId);
  const session = useSWR(["session", sessionId], () => findAgent(sessionId));
  const agent = session.data;
  const [tab, setTab] = useState("read");
  // What was approved last: for comparison, and as the plan itself where this browser has no draft of it.
  const stored = useSWR(
    agent && (draft === null || tab === "changes") ? ["document", agent.plan.document_path] : null,
    async ([, path]) => decode(await loadDocument(await supabase(), path)),
  );
  const approved = stored.data;
  const document =
    draft ??
    (agent && approved !== undefined && draft === null
      ? opened(agent.plan.title, approved, agent.plan.version)
      : null);
  const hash = useSha256(document?.content);

  const [step, setStep] = useState<Step | "opening" | null>(null);
  const [problem, setProblem] = useState<ErrorCode | null>(null);
  const isApproving = useRef(false);

  useEffect(() => {
    if (document) window.document.title = `${document.title} · Greenlight`;
  });

  const newest = agent?.plan.version ?? 0;

  function change(part: { title?: string; content?: string }) {
    if (!document) return;
    setProblem(null);
    save(edited(document, part, newest));
  }

  const handleApprove = async (version = document?.version) => {
    if (!document || version === undefined || isApproving.current) return;
    // At once and not with the next rendering: a double click is quicker than that.
    isApproving.current = true;
    setProblem(null);
    setStep("sending");
    save(sent({ ...document, version }));
    try {
      const result = await approvePlan(
        {
          plan_id: sessionId,
          title: document.title,
          content: document.content,
          version,
          content_sha256: hash ?? (await sha256(encode(document.content))),
        },
        setStep,
      );
      if (result.success && result.data) {
        toast.success(result.data.message);
        if (result.data.agent_id) {
          setStep("opening");
          void session.mutate();
          router.push(`/build/${result.data.agent_id}`);
          return;
        }
      }
      toast.error(result.error ?? explain("unknown"));
      // A way out may need to know what was approved meanwhile.
      await session.mutate().catch(() => undefined);
      setProblem(result.code ?? "unknown");
    } catch {
      const code = "subtle" in crypto ? "unknown" : "insecure_context";
      toast.error(explain(code));
      setProblem(code);
    }
    isApproving.current = false;
    setStep(null);
  };

  const handleRestore = async () => {
    const client = await supabase();
    const deleted = (await listDeleted(client)).find(({ session_id }) => session_id === sessionId);
    if (deleted) {
      const { error } = await client.rpc("restore_agent", { agent_id: deleted.id });
      if (error) {
        toast.error(explain(databaseErrorCode(error)));
        return;
      }
    }
    await handleApprove();
  };

  const handleStartAnew = () => {
    if (!document) return;
    const id = crypto.randomUUID();
    saveDraft(user.id, id, opened(document.title, document.content));
    router.push(`/build?session=${id}`);
  };

  if (!document) {
    if (draft === null && (session.error || stored.error)) throw new Error("The plan could not be loaded");
    if (draft === null && agent === null) return <OpenPlan sessionId={sessionId} />;
    return (
      <main id="content" className="page" aria-busy="true">
        <h1 className="visually-hidden">Plan</h1>
        <div className="skeleton" />
      </main>
    );
  }

  const isApproved =
    agent?.plan.version === document.version &&
    agent.plan.title === document.title &&
    agent.plan.document_sha256 === hash;
  const here = `/build?session=${sessionId}`;

  return (
    <main id="content" className="page">
      <Tabs.Root value={tab} onValueChange={setTab}>
        <div className="toolbar">
          <div className="toolbar-title">
            <h1>{document.title || "Untitled plan"}</h1>
            <p className="toolbar-facts">
              <span className="version">Version {document.version}</span>
              {isApproved ? (
                <span className="fact good">
                  <Check aria-hidden /> Approved
                </span>
              ) : (
                <span className="fact">
                  {newest > 0 ? `Version ${newest} is approved` : "Not approved yet"}
                </span>
              )}
            </p>
          </div>
          <Tabs.List className="tabs" aria-label="The plan">
            <Tabs.Trigger value="read">Read</Tabs.Trigger>
            <Tabs.Trigger value="edit">Edit</Tabs.Trigger>
            {agent && <Tabs.Trigger value="changes">Changes</Tabs.Trigger>}
          </Tabs.List>
          <div className="toolbar-action">
            {isApproved && !step ? (
              <Link className="button primary" href={`/build/${agent.id}`}>
                Open the agent
              </Link>
            ) : (
              <button
                type="button"
                className="button primary"
                disabled={step !== null || document.content === ""}
                onClick={() => void handleApprove()}
              >
                {step && <LoaderCircle className="spinner" aria-hidden />}
                {step ? STEPS[step] : "Approve plan"}
              </button>
            )}
            <p className="visually-hidden" role="status">
              {step && STEPS[step]}
            </p>
          </div>
        </div>

        {problem && (
          <WayOut
            code={problem}
            nextVersion={Math.max(newest, document.version) + 1}
            agentId={agent?.id}
            signIn={`/sign-in?next=${encodeURIComponent(here)}`}
            onApprove={(version) => void handleApprove(version)}
            onRestore={() => void handleRestore()}
            onStartAnew={handleStartAnew}
            onEdit={() => {
              setTab("edit");
            }}
          />
        )}

        <Tabs.Content value="read" className="tab" tabIndex={-1}>
          <MarkdownDocument content={document.content} />
        </Tabs.Content>
        <Tabs.Content value="edit" className="tab editor" tabIndex={-1}>
          <label>
            Title
            <input
              value={document.title}
              maxLength={1000}
              readOnly={step !== null}
              onChange={(event) => {
                change({ title: event.target.value });
              }}
            />
          </label>
          <label>
            Document
            <textarea
              value={toView(document.content)}
              spellCheck={false}
              readOnly={step !== null}
              onChange={(event) => {
                change({ content: applyEdit(document.content, event.target.value) });
              }}
            />
          </label>
        </Tabs.Content>
        {agent && (
          <Tabs.Content value="changes" className="tab" tabIndex={-1}>
            <p className="lead">From version {newest}, which is approved, to what you see here.</p>
            {approved === undefined ? (
              <div className="skeleton" aria-busy="true" />
            ) : (
              <Changes from={approved} to={document.content} />
            )}
          </Tabs.Content>
        )}
      </Tabs.Root>
      <footer className="facts">
        <Fingerprint hash={hash} />
        <span>{encode(document.content).length.toLocaleString("en")} bytes</span>
        <span>
          {lineEndings(document.content)}
          {hasByteOrderMark(document.content) && ", byte order mark"}
        </span>
      </footer>
    </main>
  );
}
