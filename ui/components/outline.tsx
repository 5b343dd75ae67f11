"use client";

import { useEffect, useState } from "react";
import type { Heading } from "@/lib/markdown";

/** The document's headings, as links: beside a long text on a wide screen, folded above it on a narrow one. */
export function Outline({ headings }: { headings: Heading[] }) {
  const top = headings.reduce((least, { level }) => Math.min(least, level), 6);
  const shown = headings.filter(({ level, text }) => level <= top + 2 && text !== "");
  const here = useCurrent(shown);
  if (shown.length < 3) return null;
  const links = (
    <ul>
      {shown.map(({ id, level, text }) => (
        <li key={id} data-depth={level - top}>
          <a href={`#${id}`} aria-current={id === here ? "location" : undefined}>
            {text}
          </a>
        </li>
      ))}
    </ul>
  );
  return (
    <>
      <nav className="outline" aria-label="Contents">
        {links}
      </nav>
      <details className="outline-folded">
        <summary>Contents</summary>
        <nav aria-label="Contents, folded">{links}</nav>
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
