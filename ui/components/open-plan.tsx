"use client";

import { decodeDocument, documentProblem } from "greenlight-client";
import { FileText, FileUp, ClipboardPaste, Trash2 } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useRef, useState } from "react";
import { toast } from "sonner";
import EXAMPLE_PLAN from "../../docs/example-plan.md";
import { draftSessions, openDraft, useDraft } from "@/lib/draft";
import { errorMessage } from "@/lib/greenlight/errors";
import { newSessionId } from "@/lib/paths";
import { titleOf } from "@/lib/read";
import { useInBrowser } from "@/lib/use-in-browser";
import { visibleText } from "@/lib/greenlight/visible";
import { PlainText } from "@/components/greenlight/plain-text";
import { useUser } from "./user";

/** Opens a plan from a file, the clipboard or the example, in `sessionId` or in a new session. */
export function OpenPlan({ sessionId }: { sessionId?: string }) {
  const user = useUser();
  const router = useRouter();
  const file = useRef<HTMLInputElement>(null);
  const [pasted, setPasted] = useState<string | null>(null);
  const [newId] = useState(newSessionId);
  const id = sessionId ?? newId;
  const { save } = useDraft(user.id, id);

  async function open(content: string, fallbackTitle = "Untitled plan") {
    const problem = isSecureContext ? documentProblem(content)?.code : "insecure_context";
    if (problem) {
      toast.error(errorMessage(problem));
      return;
    }
    save(openDraft((await titleOf(content)) ?? fallbackTitle, content));
    router.push(`/build?session=${id}`);
  }

  async function openFile(chosen: File | undefined) {
    if (!chosen) return;
    try {
      await open(decodeDocument(await chosen.arrayBuffer()), chosen.name.replace(/\.[^.]*$/, ""));
    } catch {
      toast.error("This file is not UTF-8 text. Save it as UTF-8, then open it again.");
    }
  }

  return (
    <main id="content" className="page narrow">
      <h1>Open a plan</h1>
      <p className="lead">
        {sessionId
          ? `You have no plan in this planning session. If you were sent this link, sign in with the account it was meant for (you are signed in as ${user.email}). Or start a plan here.`
          : "A plan is a markdown document. Read it, change what you like, and approve it. An agent is then built from it."}
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
            void open(EXAMPLE_PLAN);
          }}
        >
          <FileText aria-hidden />
          <strong>Start from the example</strong>
          <span>A complete plan to try things out</span>
        </button>
        <button type="button" className="choice" onClick={() => file.current?.click()}>
          <FileUp aria-hidden />
          <strong>Upload a file</strong>
          <span>Choose a markdown file up to 1 MiB, or drop it here</span>
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
          <span>From a chat or an editor</span>
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
            void open(pasted);
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
  const inBrowser = useInBrowser();
  // Read once: a discarded draft keeps its row, so that it can be restored.
  const [sessionIds, setSessionIds] = useState<string[]>();
  if (inBrowser && sessionIds === undefined) setSessionIds(draftSessions(userId));
  if (!sessionIds?.length) return null;
  return (
    <section className="drafts" aria-labelledby="drafts">
      <h2 id="drafts">Drafts in this browser</h2>
      <ul className="rows">
        {sessionIds.map((sessionId) => (
          <DraftRow key={sessionId} userId={userId} sessionId={sessionId} />
        ))}
      </ul>
    </section>
  );
}

function DraftRow({ userId, sessionId }: { userId: string; sessionId: string }) {
  const { draft, save, discard } = useDraft(userId, sessionId);
  if (!draft) return null;
  return (
    <li>
      <Link href={`/build?session=${sessionId}`}>
        <strong>
          <PlainText>{draft.title || "Untitled plan"}</PlainText>
        </strong>
        <span className="muted">Version {draft.version}</span>
      </Link>
      <button
        type="button"
        className="button quiet"
        aria-label={`Discard the draft ${visibleText(draft.title)}`}
        title="Discard this draft"
        onClick={() => {
          discard();
          toast("Draft discarded", {
            action: {
              label: "Undo",
              onClick: () => {
                save(draft);
              },
            },
          });
        }}
      >
        <Trash2 aria-hidden />
      </button>
    </li>
  );
}
