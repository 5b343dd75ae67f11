"use client";

import { FileText, FileUp, ClipboardPaste, Trash2 } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useRef, useState, useSyncExternalStore } from "react";
import { toast } from "sonner";
import { decode, documentProblem, titleOf } from "@/lib/document";
import { discardDraft, draftsOf, opened, saveDraft } from "@/lib/draft";
import { explain } from "@/lib/errors";
import { EXAMPLE_PLAN } from "@/lib/example-plan";
import { useUser } from "./user";

/** Where a plan comes from: a file, the clipboard, or the example. Opens it in `sessionId`, or in a new session. */
export function OpenPlan({ sessionId }: { sessionId?: string }) {
  const user = useUser();
  const router = useRouter();
  const file = useRef<HTMLInputElement>(null);
  const [pasted, setPasted] = useState<string | null>(null);

  function open(content: string, fallbackTitle = "Untitled plan") {
    const problem = isSecureContext ? documentProblem(content) : "insecure_context";
    if (problem) {
      toast.error(explain(problem));
      return;
    }
    const id = sessionId ?? crypto.randomUUID();
    saveDraft(user.id, id, opened(titleOf(content) ?? fallbackTitle, content));
    router.push(`/build?session=${id}`);
  }

  async function openFile(chosen: File | undefined) {
    if (!chosen) return;
    try {
      open(decode(await chosen.arrayBuffer()), chosen.name.replace(/\.[^.]*$/, ""));
    } catch {
      toast.error("This file is not text in UTF-8. Save it as UTF-8, then open it again.");
    }
  }

  return (
    <main id="content" className="page narrow">
      <h1>Open a plan</h1>
      <p className="lead">
        {sessionId
          ? "There is no plan in this planning session yet. Where does it come from?"
          : "A plan is a markdown document. Read it, change what you like, and approve it: an agent is built from it."}
      </p>
      <div
        className="choices"
        onDragOver={(event) => {
          event.preventDefault();
        }}
        onDrop={(event) => {
          event.preventDefault();
          void openFile(event.dataTransfer.files[0]);
        }}
      >
        <button
          type="button"
          className="choice"
          onClick={() => {
            open(EXAMPLE_PLAN);
          }}
        >
          <FileText aria-hidden />
          <strong>Start from the example</strong>
          <span>A real plan to look around with</span>
        </button>
        <button type="button" className="choice" onClick={() => file.current?.click()}>
          <FileUp aria-hidden />
          <strong>Upload a file</strong>
          <span>Markdown, up to 1 MiB, or drop it here</span>
        </button>
        <button
          type="button"
          className="choice"
          aria-expanded={pasted !== null}
          onClick={() => {
            setPasted((text) => (text === null ? "" : null));
          }}
        >
          <ClipboardPaste aria-hidden />
          <strong>Paste markdown</strong>
          <span>From a chat, or from an editor</span>
        </button>
        <input
          ref={file}
          type="file"
          hidden
          accept=".md,.markdown,.txt,text/markdown,text/plain"
          aria-label="Markdown file"
          onChange={(event) => {
            void openFile(event.target.files?.[0]);
            event.target.value = "";
          }}
        />
      </div>
      {pasted !== null && (
        <form
          className="paste"
          onSubmit={(event) => {
            event.preventDefault();
            open(pasted);
          }}
        >
          <label>
            Markdown
            <textarea
              rows={12}
              autoFocus
              value={pasted}
              spellCheck={false}
              onChange={(event) => {
                setPasted(event.target.value);
              }}
            />
          </label>
          <button className="button primary" disabled={pasted === ""}>
            Open this plan
          </button>
        </form>
      )}
      {sessionId === undefined && <Drafts userId={user.id} />}
    </main>
  );
}

function Drafts({ userId }: { userId: string }) {
  const [discarded, setDiscarded] = useState(0);
  // Local storage is not there on the server: nothing is shown until the page is in the browser.
  const inBrowser = useSyncExternalStore(
    () => () => undefined,
    () => true,
    () => false,
  );
  const drafts = inBrowser ? draftsOf(userId) : [];
  if (drafts.length === 0) return null;
  return (
    <section className="drafts" aria-labelledby="drafts" data-discarded={discarded}>
      <h2 id="drafts">In this browser</h2>
      <ul className="rows">
        {drafts.map(({ sessionId, draft }) => (
          <li key={sessionId}>
            <Link href={`/build?session=${sessionId}`}>
              <strong>{draft.title || "Untitled plan"}</strong>
              <span className="muted">Version {draft.version}</span>
            </Link>
            <button
              type="button"
              className="button quiet"
              aria-label={`Discard the draft ${draft.title}`}
              title="Discard this draft"
              onClick={() => {
                discardDraft(userId, sessionId);
                setDiscarded((count) => count + 1);
                toast("Draft discarded", {
                  action: {
                    label: "Undo",
                    onClick: () => {
                      saveDraft(userId, sessionId, draft);
                      setDiscarded((count) => count - 1);
                    },
                  },
                });
              }}
            >
              <Trash2 aria-hidden />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
