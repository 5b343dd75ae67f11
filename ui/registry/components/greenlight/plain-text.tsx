import { visible } from "@/lib/greenlight/visible";

/** The name of characters that cannot be seen. */
export function Invisible({ children }: { children: React.ReactNode }) {
  return (
    <span
      className="mx-px rounded-sm border border-dashed border-warning/60 bg-[color-mix(in_oklab,var(--warning)_10%,var(--background))] px-1 font-mono text-[0.78em] font-medium text-warning [overflow-wrap:anywhere] [unicode-bidi:isolate]"
      title="Invisible characters"
    >
      {children}
    </span>
  );
}

/** A text in a line of its own words, like a title: nothing in it is invisible, or turns around what stands beside it. */
export function PlainText({ children }: { children: string }) {
  return (
    <bdi>
      {visible(children).map((part, at) =>
        typeof part === "string" ? part : <Invisible key={at}>{part.mark}</Invisible>,
      )}
    </bdi>
  );
}
