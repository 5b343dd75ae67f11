import { PlainText } from "./plain-text";

/** A person's comment: plain text, line breaks kept. */
export function Quote({ label, children }: { label: string; children: string }) {
  return (
    <figure className="quote">
      <figcaption>{label}</figcaption>
      <blockquote>
        <PlainText>{children}</PlainText>
      </blockquote>
    </figure>
  );
}
