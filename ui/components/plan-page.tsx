"use client";

import * as Tabs from "@radix-ui/react-tabs";
import type { Plan } from "greenlight-client";
import dynamic from "next/dynamic";
import { useEffect } from "react";
import { applyEdit, encode, hasByteOrderMark, lineEndings, toView } from "@/lib/document";
import { errorMessage } from "@/lib/errors";
import { useDocument } from "@/lib/use-document";
import { Fingerprint } from "./fingerprint";
import { MarkdownDocument } from "./markdown";

const Changes = dynamic(() => import("./changes").then(({ Changes }) => Changes), { ssr: false });

export interface PlanPageProps {
  title: string;
  version: number;
  /** The document as it is shown; undefined while it is being loaded. */
  content: string | undefined;
  /** The SHA-256 of what is shown. */
  hash: string | undefined;
  /** What is known about this version, next to its number. */
  facts: React.ReactNode;
  /** The buttons. */
  actions: React.ReactNode;
  /** Messages above the document. */
  notices: React.ReactNode;
  /** The version to compare with, and what the reader should know about it. */
  base: Plan | undefined;
  baseNote: React.ReactNode;
  tab: string;
  onTab: (tab: string) => void;
  /** Absent if the plan cannot be edited now. */
  onEdit?: ((change: { title?: string; content?: string }) => void) | undefined;
}

/** A plan to read, to compare with an earlier version, and to edit. */
export function PlanPage({
  title,
  version,
  content,
  hash,
  facts,
  actions,
  notices,
  base,
  baseNote,
  tab,
  onTab,
  onEdit,
}: PlanPageProps) {
  useEffect(() => {
    document.title = `${title} · Greenlight`;
  }, [title]);

  const skeleton = <div className="skeleton" aria-busy="true" />;
  return (
    <main id="content" className="page">
      <Tabs.Root value={tab} onValueChange={onTab}>
        <div className="toolbar">
          <div className="toolbar-title">
            <h1>{title || "Untitled plan"}</h1>
            <p className="toolbar-facts">
              <span className="version">Version {version}</span>
              {facts}
            </p>
          </div>
          <Tabs.List className="tabs" aria-label="The plan">
            <Tabs.Trigger value="read">Read</Tabs.Trigger>
            <Tabs.Trigger value="edit">Edit</Tabs.Trigger>
            {base && <Tabs.Trigger value="changes">Changes</Tabs.Trigger>}
          </Tabs.List>
          <div className="toolbar-action">{actions}</div>
        </div>

        {notices}

        <Tabs.Content value="read" className="tab" tabIndex={-1}>
          {content === undefined ? skeleton : <MarkdownDocument content={content} />}
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
        {base && (
          <Tabs.Content value="changes" className="tab" tabIndex={-1}>
            {baseNote}
            {content === undefined ? skeleton : <ChangesSince base={base} content={content} />}
          </Tabs.Content>
        )}
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

function ChangesSince({ base, content }: { base: Plan; content: string }) {
  const { data, error } = useDocument(base);
  if (error) return <p className="empty-note">{errorMessage(error)}</p>;
  if (!data) return <div className="skeleton" aria-busy="true" />;
  if (!data.verified || data.content === null)
    return (
      <p className="empty-note">
        The stored document of version {base.version} is not the one that you decided on, so the versions
        cannot be compared.
      </p>
    );
  return <Changes from={data.content} to={content} />;
}
