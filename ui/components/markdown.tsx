"use client";

import { ImageIcon } from "lucide-react";
import { memo, useDeferredValue, useMemo, useState } from "react";
import Markdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { toView } from "@/lib/document";
import { sections } from "@/lib/markdown";
import { Outline } from "./outline";

/**
 * A rendered document. HTML in it is shown as text: the user must see all that they approve, and nothing in it may
 * run. Long documents are rendered section by section, so that the page stays responsive.
 */
export function MarkdownDocument({ content }: { content: string }) {
  const shown = useDeferredValue(content, "");
  const parts = useMemo(() => sections(toView(shown)), [shown]);
  return (
    <div className="reader" aria-busy={shown !== content}>
      <Outline sections={parts} />
      <article className="prose">
        {parts.map((part, index) => (
          <MarkdownSection key={part.id || index} id={part.id} text={part.text} />
        ))}
      </article>
    </div>
  );
}

const MarkdownSection = memo(function MarkdownSection({ id, text }: { id: string; text: string }) {
  return (
    <div id={id || undefined} className="prose-section">
      <Markdown remarkPlugins={[remarkGfm]} components={COMPONENTS}>
        {text}
      </Markdown>
    </div>
  );
});

const COMPONENTS: Components = {
  // The page's heading is the plan's title, so the document's headings start one level lower.
  h1: ({ children }) => <h2 className="h1">{children}</h2>,
  h2: ({ children }) => <h3 className="h2">{children}</h3>,
  h3: ({ children }) => <h4 className="h3">{children}</h4>,
  h4: ({ children }) => <h5 className="h4">{children}</h5>,
  h5: ({ children }) => <h6 className="h5">{children}</h6>,
  h6: ({ children }) => <h6 className="h6">{children}</h6>,
  a: ({ href, children }) => <DocumentLink href={href ?? ""}>{children}</DocumentLink>,
  img: ({ src, alt }) => <Picture src={typeof src === "string" ? src : ""} alt={alt ?? ""} />,
  // Wide tables and code can be scrolled, also by keyboard.
  table: ({ children }) => (
    <div className="table" role="region" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
  // A task list's box only shows a state; it cannot be ticked here.
  input: ({ checked }) => (
    <span className="task" role="img" aria-label={checked ? "done:" : "to do:"} data-checked={checked} />
  ),
};

/** react-markdown has already removed the links with other schemes than http, https, mailto and similar ones. */
function DocumentLink({ href, children }: { href: string; children: React.ReactNode }) {
  if (href.startsWith("#")) {
    const target = href.slice(1);
    return <a href={target.startsWith("user-content-") ? href : `#user-content-${target}`}>{children}</a>;
  }
  // A document has no address, so a relative link has no target. It must not lead into this app.
  if (!/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

/** A picture on another host is not part of what is approved, and its host learns who reads. So load it only on request. */
function Picture({ src, alt }: { src: string; alt: string }) {
  const [shown, setShown] = useState(false);
  const host = /^https:\/\/([^/?#]+)/i.exec(src)?.[1];
  // The address comes from the document, so Next's image optimiser must not fetch it.
  // eslint-disable-next-line @next/next/no-img-element
  if (shown) return <img src={src} alt={alt} referrerPolicy="no-referrer" />;
  return (
    <span className="picture">
      <ImageIcon aria-hidden /> <span>{alt || "Picture"}</span>
      {host ? (
        <button
          type="button"
          className="button small"
          onClick={() => {
            setShown(true);
          }}
        >
          Show from {host}
        </button>
      ) : (
        <span className="muted">not shown</span>
      )}
    </span>
  );
}
