import { PlainText } from "./plain-text";

/** A person's comment: plain text, line breaks kept. */
export function Quote({ label, children }: { label: string; children: string }) {
  return (
    <figure className="mt-2">
      <figcaption className="text-[13px] text-muted-foreground">{label}</figcaption>
      <blockquote className="mt-0.5 border-l-3 pl-3 [overflow-wrap:anywhere] whitespace-pre-wrap">
        <PlainText>{children}</PlainText>
      </blockquote>
    </figure>
  );
}
