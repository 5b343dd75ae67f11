"use client";

import type { Plan } from "greenlight-client";
import { ShieldCheck, ShieldX } from "lucide-react";
import { useState } from "react";
import { Label } from "@/components/ui/label";
import { NativeSelect, NativeSelectOption } from "@/components/ui/native-select";
import { Skeleton } from "@/components/ui/skeleton";
import { Tabs, TabsContent, TabsList, TabsTrigger } from "@/components/ui/tabs";
import { errorMessage } from "@/lib/greenlight/errors";
import { visibleText } from "@/lib/greenlight/visible";
import { useDocument } from "@/components/greenlight/document/use-document";
import { useReading, type Reading } from "@/components/greenlight/document/use-reading";
import { ChangesSince } from "@/components/greenlight/document/changes-since";
import { EmptyNote } from "./empty-note";
import { Fingerprint } from "@/components/greenlight/document/fingerprint";
import { MarkdownDocument } from "@/components/greenlight/document/document";

interface Props {
  /** The title of the page. */
  name: string;
  /** What the agent is built from. */
  plan: Plan;
  /** All approved versions, newest first. */
  approved: Plan[];
}

/** The document that an agent is built from, and what changed from one version to another. */
export function AgentDocuments({ name, plan, approved }: Props) {
  return (
    <Tabs defaultValue="document" className="min-w-0 gap-4">
      <div className="flex items-center justify-between gap-3">
        <TabsList aria-label="What the agent is built from">
          <TabsTrigger value="document">Approved plan</TabsTrigger>
          <TabsTrigger value="changes">Changes</TabsTrigger>
        </TabsList>
        <span className="text-[13px] text-muted-foreground">Version {plan.version}</span>
      </div>
      <TabsContent value="document" tabIndex={-1}>
        <ApprovedDocument name={name} plan={plan} />
      </TabsContent>
      <TabsContent value="changes" tabIndex={-1}>
        {approved.length > 1 ? (
          <VersionChanges plans={approved} />
        ) : (
          <EmptyNote>
            This is the first version. After you revise the plan, you see the changes here.
          </EmptyNote>
        )}
      </TabsContent>
    </Tabs>
  );
}

function ApprovedDocument({ name, plan }: { name: string; plan: Plan }) {
  const { data, error } = useDocument(plan);
  const reading = useReading(data?.content ?? undefined, undefined);
  if (error) return <EmptyNote>{errorMessage(error)}</EmptyNote>;
  if (!data) return <Skeleton className="h-80" aria-busy="true" />;
  return (
    <>
      <div className="mb-6 flex flex-wrap items-start justify-between gap-x-4 gap-y-1 text-[13px]">
        {data.verified ? (
          <span className="flex items-center gap-1.5 text-success">
            <ShieldCheck aria-hidden className="size-4" /> This is the approved document
          </span>
        ) : (
          <span className="flex items-center gap-1.5 font-medium text-destructive" role="alert">
            <ShieldX aria-hidden className="size-4" /> This is not the approved document
          </span>
        )}
        <details className="text-muted-foreground open:basis-full">
          <summary className="cursor-pointer underline-offset-4 hover:underline">Details</summary>
          <Fingerprint hash={plan.document_sha256} />
        </details>
      </div>
      {data.content === null ? (
        <EmptyNote>The document is not UTF-8 text.</EmptyNote>
      ) : (
        <MarkdownDocument reading={withoutTitle(reading, name)} content={data.content} />
      )}
    </>
  );
}

/** The title of the page need not be read again as the first heading of the document. */
function withoutTitle(reading: Reading | undefined, title: string): Reading | undefined {
  if (!reading || "source" in reading) return reading;
  const [first, ...blocks] = reading.blocks;
  if (!first || !/^h\d$/.test(first.tag) || first.children.length !== 1 || first.children[0] !== title)
    return reading;
  return { ...reading, blocks, headings: reading.headings.slice(1) };
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
      <div className="mb-5 grid grid-cols-2 gap-3">
        <VersionSelect id="from" label="From" plans={plans} value={from} onChange={setFrom} />
        <VersionSelect id="to" label="To" plans={plans} value={to} onChange={setTo} />
      </div>
      {before.error || after.error ? (
        <EmptyNote>The documents could not be loaded. Reload the page to try again.</EmptyNote>
      ) : base && content !== undefined ? (
        <>
          <ChangesSince base={base} reading={reading} />
          <MarkdownDocument reading={reading} content={content} />
        </>
      ) : (
        <Skeleton className="h-80" aria-busy="true" />
      )}
    </>
  );
}

interface VersionSelectProps {
  id: string;
  label: string;
  plans: Plan[];
  value: string | undefined;
  onChange: (id: string) => void;
}

function VersionSelect({ id, label, plans, value, onChange }: VersionSelectProps) {
  return (
    <div className="grid gap-2">
      <Label htmlFor={id}>{label}</Label>
      <NativeSelect
        id={id}
        value={value}
        onChange={(event) => {
          onChange(event.target.value);
        }}
      >
        {plans.map(({ id, version, title }) => (
          <NativeSelectOption key={id} value={id}>
            Version {version}: {visibleText(title)}
          </NativeSelectOption>
        ))}
      </NativeSelect>
    </div>
  );
}
