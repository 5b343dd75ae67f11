"use client";

import * as Tabs from "@radix-ui/react-tabs";
import type { Plan } from "greenlight-client";
import { useEffect } from "react";
import { applyEdit, encode, hasByteOrderMark, lineEndings, toView } from "@/lib/document";
import { errorMessage } from "@/lib/greenlight/errors";
import { useDocument } from "@/lib/use-document";
import { useReading } from "@/lib/use-reading";
import { visibleText } from "@/lib/greenlight/visible";
import { ChangesSince } from "./changes-since";
import { Fingerprint } from "./fingerprint";
import { MarkdownDocument } from "./markdown";
import { PlainText } from "@/components/greenlight/plain-text";
import { Source } from "./source";

export interface PlanPageProps {
  title: string;
  version: number;
  /** The document as it is shown; undefined while it is being loaded. */
  content: string | undefined;
  /** The SHA-256 of what is shown. */
  hash: string | undefined;
  /** What is known about this version, next to its number. */
  facts: React.ReactNode;
  /** The buttons; whether the document is on the screen. */
  actions: (isShown: boolean) => React.ReactNode;
  /** Messages above the document. */
  notices: React.ReactNode;
  /** The version to compare with. */
  base: Plan | undefined;
  tab: string;
  onTab: (tab: string) => void;
  /** Absent if the plan cannot be edited now. */
  onEdit?: ((change: { title?: string; content?: string }) => void) | undefined;
}

/** A plan to read, with what has changed since an earlier version, and to edit. */
export function PlanPage({
  title,
  version,
  content,
  hash,
  facts,
  actions,
  notices,
  base,
  tab,
  onTab,
  onEdit,
}: PlanPageProps) {
  useEffect(() => {
    document.title = `${visibleText(title)} · Greenlight`;
  }, [title]);
  const { data: before, error: baseError } = useDocument(base);
  const isReading = tab === "read";
  const reading = useReading(
    isReading ? content : undefined,
    before?.verified === true ? (before.content ?? undefined) : undefined,
  );

  const skeleton = <div className="skeleton" aria-busy="true" />;
  return (
    <main id="content" className="page">
      <Tabs.Root value={tab} onValueChange={onTab}>
        <div className="toolbar">
          <div className="toolbar-title">
            <h1 data-long={title.length > 120 || undefined}>
              <PlainText>{title || "Untitled plan"}</PlainText>
            </h1>
            <p className="toolbar-facts">
              <span className="version">Version {version}</span>
              {facts}
            </p>
          </div>
          <Tabs.List className="tabs" aria-label="The plan">
            <Tabs.Trigger value="read">Read</Tabs.Trigger>
            <Tabs.Trigger value="edit">Edit</Tabs.Trigger>
            <Tabs.Trigger value="source">Source</Tabs.Trigger>
          </Tabs.List>
          {/* A document is approved when it is on the screen, not before. */}
          <div className="toolbar-action">{actions(!isReading || reading !== undefined)}</div>
        </div>

        {notices}

        <Tabs.Content value="read" className="tab" tabIndex={-1}>
          {base && (before?.verified === false || before?.content === null || baseError) && (
            <p className="changes-since">
              The changes since version {base.version} cannot be marked:{" "}
              {baseError
                ? errorMessage(baseError)
                : "its stored document is not the one that was decided on."}
            </p>
          )}
          {base && before?.verified && before.content !== null && (
            <ChangesSince base={base} reading={reading} />
          )}
          {content === undefined ? skeleton : <MarkdownDocument reading={reading} content={content} />}
        </Tabs.Content>
        <Tabs.Content value="edit" className="tab editor" tabIndex={-1}>
          {content === undefined ? (
            skeleton
          ) : (
            <>
              <label>
                Title
                <input
                  value={title}
                  maxLength={1000}
                  readOnly={!onEdit}
                  onChange={(event) => onEdit?.({ title: event.target.value })}
                />
              </label>
              <label>
                Document
                <textarea
                  value={toView(content)}
                  spellCheck={false}
                  readOnly={!onEdit}
                  onChange={(event) => onEdit?.({ content: applyEdit(content, event.target.value) })}
                />
              </label>
            </>
          )}
        </Tabs.Content>
        <Tabs.Content value="source" className="tab" tabIndex={-1}>
          {content === undefined ? skeleton : <Source content={content} />}
        </Tabs.Content>
      </Tabs.Root>
      {content !== undefined && (
        <footer className="facts">
          <Fingerprint hash={hash} />
          <span>{encode(content).length.toLocaleString("en")} bytes</span>
          <span>
            Line endings: {lineEndings(content)}
            {hasByteOrderMark(content) && ", byte order mark"}
          </span>
        </footer>
      )}
    </main>
  );
}
