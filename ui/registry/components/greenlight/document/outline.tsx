"use client";

import { use, useEffect, useState } from "react";
import { cn } from "@/lib/utils";
import type { Heading } from "./markdown";
import { DocumentTextsContext } from "./texts";

/** The document's headings, as links: beside a long text on a wide screen, folded above it where there is no room. */
export function Outline({ headings, isFolded }: { headings: Heading[]; isFolded: boolean }) {
  const texts = use(DocumentTextsContext);
  const top = headings.reduce((least, { level }) => Math.min(least, level), 6);
  const shown = headings.filter(({ level, text }) => level <= top + 2 && text !== "");
  const here = useCurrent(shown);
  if (shown.length < 3) return null;
  const links = (
    <ul>
      {shown.map(({ id, level, text }) => (
        <li key={id}>
          <a
            href={`#${id}`}
            aria-current={id === here ? "location" : undefined}
            className={cn(
              "block border-l-2 py-[3px] text-[13.5px]/normal text-muted-foreground hover:text-foreground aria-[current]:border-primary aria-[current]:text-foreground",
              level === top + 2 ? "pl-[26px]" : "pl-3",
            )}
          >
            {text}
          </a>
        </li>
      ))}
    </ul>
  );
  return (
    <>
      {!isFolded && (
        <nav
          className="sticky top-[calc(var(--greenlight-top,0px)+5rem)] float-right ms-8 hidden max-h-[calc(100dvh-12rem)] w-54 overflow-y-auto @min-[860px]:block"
          aria-label={texts.contents}
        >
          {links}
        </nav>
      )}
      <details
        className={cn(
          "mb-6 rounded-lg border bg-card px-3.5 py-2.5 text-sm",
          !isFolded && "@min-[860px]:hidden",
        )}
      >
        <summary className="cursor-pointer font-medium">{texts.contents}</summary>
        <nav className="mt-2" aria-label={texts.foldedContents}>
          {links}
        </nav>
      </details>
    </>
  );
}

/** The section that the reader is in. */
function useCurrent(headings: Heading[]): string | null {
  const [here, setHere] = useState<string | null>(null);
  const ids = headings.map(({ id }) => id).join(" ");
  useEffect(() => {
    const visible = new Set<string>();
    const order = ids.split(" ");
    // Only a band below the top bars counts.
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries)
          if (isIntersecting) visible.add(target.id);
          else visible.delete(target.id);
        setHere(order.find((id) => visible.has(id)) ?? null);
      },
      { rootMargin: "-140px 0px -65% 0px" },
    );
    for (const id of order) {
      const element = document.getElementById(id);
      if (element) observer.observe(element);
    }
    return () => {
      observer.disconnect();
    };
  }, [ids]);
  return here;
}
