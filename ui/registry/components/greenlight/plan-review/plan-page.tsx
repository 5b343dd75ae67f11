"use client";

import { use } from "react";
import {
  applyEdit,
  encode,
  hasByteOrderMark,
  lineEndings,
  toView,
} from "@/components/greenlight/document/bytes";
import { ChangesSince } from "@/components/greenlight/document/changes-since";
import { MarkdownDocument } from "@/components/greenlight/document/document";
import { Fingerprint } from "@/components/greenlight/document/fingerprint";
import type { Read } from "@/components/greenlight/document/reader.worker";
import { Source } from "@/components/greenlight/document/source";
import { useDocument } from "@/components/greenlight/document/use-document";
import { useLines, useReading, type Base } from "@/components/greenlight/document/use-reading";
import { PlainText } from "@/components/greenlight/plain-text";
import { Input } from "@/components/ui/input";
import { Label } from "@/components/ui/label";
import { Skeleton } from "@/components/ui/skeleton";
import { Tabs, TabsContent, TabsList, TabsTrigger } from "@/components/ui/tabs";
import { Textarea } from "@/components/ui/textarea";
import type { Plan } from "@/lib/greenlight/client";
import type { ErrorCode } from "@/lib/greenlight/errors";
import { cn } from "@/lib/utils";
import { ReviewedDocument, type Remarks } from "./reviewed-document";
import { PlanReviewContext } from "./texts";

/** What is known about a version, next to its number. */
export function Fact({ isGood = false, children }: { isGood?: boolean; children: React.ReactNode }) {
  return (
    <span
      className={cn(
        "inline-flex items-center gap-1 [&>svg]:size-4",
        isGood ? "font-medium text-success" : "text-muted-foreground",
      )}
    >
      {children}
    </span>
  );
}

interface Props {
  title: string;
  version: number;
  /** The document as it is shown; undefined while it is being loaded. */
  content: string | undefined;
  /** The SHA-256 of what is shown. */
  hash: string | undefined;
  /** The version to compare with: undefined if there is none, null while that is not known. */
  base: Plan | null | undefined;
  baseError: ErrorCode | undefined;
  tab: string;
  onTab: (tab: string) => void;
  /** Absent if the plan cannot be edited now. */
  onEdit: ((change: { title?: string; content?: string }) => void) | undefined;
  facts: React.ReactNode;
  /** The buttons; whether the document is on the screen. */
  actions: (isShown: boolean) => React.ReactNode;
  /** Messages above the document. */
  notices: React.ReactNode;
  /** Further rows of the details. */
  details: React.ReactNode;
  /** What is said on passages; undefined if nothing can be. */
  remarks: Remarks | undefined;
}

/** A plan to read, with what has changed since an earlier version, and to edit. */
export function PlanPage({
  title,
  version,
  content,
  hash,
  base,
  baseError,
  tab,
  onTab,
  onEdit,
  facts,
  actions,
  notices,
  details,
  remarks,
}: Props) {
  const texts = use(PlanReviewContext);
  const before = useDocument(base ?? undefined);
  const isReplaced = before.data && (!before.data.verified || before.data.content === null);
  const unmarked = baseError
    ? texts.baseUnknown(texts.errors[baseError])
    : base && before.error
      ? texts.baseNotLoaded(base.version, texts.errors[before.error])
      : base && isReplaced
        ? texts.baseNotLoaded(base.version, texts.baseReplaced)
        : undefined;
  const compared: Base =
    unmarked !== undefined || base === undefined ? undefined : (before.data?.content ?? null);
  const reading = useReading(tab === "read" ? content : undefined, compared);
  const lines = useLines(tab === "source" ? content : undefined, compared);
  // A document that begins with the plan's title needs no second one above it.
  const isTitled = reading !== undefined && !("source" in reading) && beginsWith(title, reading);

  const note = unmarked !== undefined && <p className="mb-5 text-sm text-warning">{unmarked}</p>;
  const skeleton = <Skeleton className="h-96" aria-busy="true" />;
  return (
    <Tabs value={tab} onValueChange={onTab} className="gap-0 max-md:pb-16">
      <header className={cn("mb-1", isTitled && "sr-only")}>
        <h1 className="font-heading text-2xl/tight font-semibold [overflow-wrap:anywhere] text-balance">
          <PlainText>{title || texts.untitled}</PlainText>
        </h1>
      </header>
      <p className="flex flex-wrap items-center gap-x-3 gap-y-1 text-sm">
        <span className="font-medium tabular-nums">{texts.version(version)}</span>
        {facts}
      </p>
      <div className="z-10 mb-6 flex flex-wrap items-center justify-between gap-x-4 gap-y-2 border-b bg-background py-3 md:sticky md:top-[var(--greenlight-top,0px)]">
        <TabsList aria-label={texts.tabs}>
          <TabsTrigger value="read">{texts.read}</TabsTrigger>
          <TabsTrigger value="edit">{texts.edit}</TabsTrigger>
          <TabsTrigger value="source">{texts.source}</TabsTrigger>
        </TabsList>
        {/* A document is approved when it is on the screen, not before. */}
        <div className="flex gap-2 empty:hidden max-md:fixed max-md:flex-wrap max-md:[&_svg]:hidden max-md:inset-x-0 max-md:bottom-0 max-md:z-20 max-md:border-t max-md:bg-background max-md:px-4 max-md:py-2.5 max-md:[&>*]:grow max-md:[&>*]:px-2">
          {actions(tab !== "read" || reading !== undefined)}
        </div>
      </div>

      {notices}

      <TabsContent value="read" tabIndex={-1}>
        {note}
        {base && !note && <ChangesSince base={base} reading={reading} />}
        {content === undefined ? (
          skeleton
        ) : remarks ? (
          <ReviewedDocument reading={reading} content={content} remarks={remarks} />
        ) : (
          <MarkdownDocument reading={reading} content={content} />
        )}
      </TabsContent>
      <TabsContent value="edit" tabIndex={-1} className="grid gap-4">
        {content === undefined ? (
          skeleton
        ) : (
          <>
            <Label className="grid gap-2">
              {texts.title}
              <Input
                value={title}
                maxLength={1000}
                readOnly={!onEdit}
                onChange={(event) => onEdit?.({ title: event.target.value })}
              />
            </Label>
            <Label className="grid gap-2">
              {texts.text}
              <Textarea
                className="field-sizing-fixed min-h-[max(26rem,calc(100dvh-24rem))] bg-card px-5 py-4 font-mono text-[13.5px]/[1.65] [tab-size:4] select-text"
                value={toView(content)}
                spellCheck={false}
                readOnly={!onEdit}
                onChange={(event) => onEdit?.({ content: applyEdit(content, event.target.value) })}
              />
            </Label>
          </>
        )}
      </TabsContent>
      <TabsContent value="source" tabIndex={-1}>
        {note}
        {content === undefined ? skeleton : <Source content={content} lines={lines} />}
      </TabsContent>

      {content !== undefined && (
        <details className="mt-10 border-t pt-4 text-sm text-muted-foreground">
          <summary className="w-fit cursor-pointer">{texts.details}</summary>
          <dl className="mt-3 grid gap-x-6 gap-y-1.5 tabular-nums sm:grid-cols-[auto_1fr] [&>dt]:font-medium">
            <dt>{texts.fingerprint}</dt>
            <dd>
              <Fingerprint hash={hash} />
            </dd>
            <dt>{texts.size}</dt>
            <dd>{texts.bytes(encode(content).length)}</dd>
            <dt>{texts.lineEndings}</dt>
            <dd>
              {lineEndings(content)}
              {hasByteOrderMark(content) && texts.byteOrderMark}
            </dd>
            {details}
          </dl>
        </details>
      )}
    </Tabs>
  );
}

function beginsWith(title: string, { blocks: [first], headings: [heading] }: Read): boolean {
  return first?.tag === "h1" && first.id === heading?.id && heading?.text === title;
}
