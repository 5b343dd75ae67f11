"use client";

import { ClipboardPaste, FileText, FileUp, Trash2, type LucideIcon } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useRef, useState } from "react";
import EXAMPLE_PLAN from "../../docs/example-plan.md";
import { titleOf } from "@/components/greenlight/document/read";
import { PlainText } from "@/components/greenlight/plain-text";
import { draftSessions, newSessionId, openDraft, useDraft } from "@/components/greenlight/plan-review/draft";
import { Button } from "@/components/ui/button";
import { Label } from "@/components/ui/label";
import { Textarea } from "@/components/ui/textarea";
import { useInBrowser } from "@/hooks/use-in-browser";
import { decodeDocument, documentProblem } from "@/lib/greenlight/client";
import { errorMessage } from "@/lib/greenlight/errors";
import { visibleText } from "@/lib/greenlight/visible";
import { useUser } from "./user";
import { PageTitle } from "./page-title";
import { toast } from "./toasts";

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
    <div className="mx-auto max-w-3xl">
      <PageTitle>Open a plan</PageTitle>
      <p className="mt-3 text-pretty text-muted-foreground">
        {sessionId
          ? `You have no plan in this planning session. If you were sent this link, sign in with the account it was meant for (you are signed in as ${user.email}). Or start a plan here.`
          : "A plan is a markdown document. Read it, change what you like, and approve it. An agent is then built from it."}
      </p>
      <div
        className="mt-8 grid gap-3 sm:grid-cols-3"
        onDragOver={(event) => {
          event.preventDefault();
        }}
        onDrop={(event) => {
          event.preventDefault();
          void openFile(event.dataTransfer.files[0]);
        }}
      >
        <Choice
          icon={FileText}
          title="Start from the example"
          onClick={() => {
            void open(EXAMPLE_PLAN);
          }}
        >
          A complete plan to try things out
        </Choice>
        <Choice icon={FileUp} title="Upload a file" onClick={() => file.current?.click()}>
          Choose a markdown file up to 1 MiB, or drop it here
        </Choice>
        <Choice
          icon={ClipboardPaste}
          title="Paste markdown"
          aria-expanded={pasted !== null}
          onClick={() => {
            setPasted((text) => (text === null ? "" : null));
          }}
        >
          From a chat or an editor
        </Choice>
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
          className="mt-6 grid justify-items-start gap-4"
          onSubmit={(event) => {
            event.preventDefault();
            void open(pasted);
          }}
        >
          <Label className="grid w-full gap-2">
            Markdown
            <Textarea
              className="field-sizing-fixed font-mono"
              rows={12}
              autoFocus
              value={pasted}
              spellCheck={false}
              onChange={(event) => {
                setPasted(event.target.value);
              }}
            />
          </Label>
          <Button disabled={pasted === ""}>Open this plan</Button>
        </form>
      )}
      {sessionId === undefined && <Drafts userId={user.id} />}
    </div>
  );
}

interface ChoiceProps extends React.ComponentProps<"button"> {
  icon: LucideIcon;
  title: string;
}

function Choice({ icon: Icon, title, children, ...props }: ChoiceProps) {
  return (
    <button
      type="button"
      className="grid cursor-pointer content-start gap-1 rounded-xl border bg-card p-5 text-start text-sm outline-none hover:border-primary focus-visible:ring-[3px] focus-visible:ring-ring/50"
      {...props}
    >
      <Icon aria-hidden className="mb-2 size-5 text-primary" />
      <strong className="font-semibold">{title}</strong>
      <span className="text-muted-foreground">{children}</span>
    </button>
  );
}

function Drafts({ userId }: { userId: string }) {
  const inBrowser = useInBrowser();
  // Read once: a discarded draft keeps its row, so that it can be restored.
  const [sessionIds, setSessionIds] = useState<string[]>();
  if (inBrowser && sessionIds === undefined) setSessionIds(draftSessions(userId));
  if (!sessionIds?.length) return null;
  return (
    <section className="mt-10" aria-labelledby="drafts">
      <h2 id="drafts" className="mb-3 text-sm font-semibold">
        Drafts in this browser
      </h2>
      <ul className="divide-y overflow-hidden rounded-lg border bg-card">
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
    <li className="flex items-center gap-2 pe-3">
      <Link
        className="grid min-w-0 grow gap-1 px-4 py-3.5 outline-none hover:bg-accent/60 focus-visible:ring-[3px] focus-visible:ring-ring/50 focus-visible:ring-inset"
        href={`/build?session=${sessionId}`}
      >
        <strong className="font-semibold [overflow-wrap:anywhere]">
          <PlainText>{draft.title || "Untitled plan"}</PlainText>
        </strong>
        <span className="text-sm text-muted-foreground">Version {draft.version}</span>
      </Link>
      <Button
        variant="ghost"
        size="icon"
        aria-label={`Discard the draft ${visibleText(draft.title)}`}
        title="Discard this draft"
        onClick={() => {
          discard();
          toast.success("Draft discarded", {
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
      </Button>
    </li>
  );
}
