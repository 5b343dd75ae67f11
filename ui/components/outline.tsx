"use client";

import { useEffect, useState } from "react";
import type { Section } from "@/lib/markdown";

/** The document's headings, as links: beside a long text on a wide screen, folded above it on a narrow one. */
export function Outline({ sections }: { sections: Section[] }) {
  const headings = sections.filter(({ level, heading }) => level > 0 && heading !== "");
  const top = Math.min(...headings.map(({ level }) => level));
  const shown = headings.filter(({ level }) => level <= top + 2);
  const here = useCurrent(shown);
  if (shown.length < 3) return null;
  const links = (
    <ul>
      {shown.map(({ id, level, heading }) => (
        <li key={id} data-depth={level - top}>
          <a href={`#${id}`} aria-current={id === here ? "location" : undefined}>
            {heading}
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
function useCurrent(sections: Section[]): string | null {
  const [here, setHere] = useState<string | null>(null);
  const ids = sections.map(({ id }) => id).join(" ");
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
