"use client";

import { createContext, Fragment, use } from "react";

/** Which blocks of a document have something beside them: it stands in the margin if there is room, else below the block. */
export const MarginContext = createContext<{ isWide: boolean; blocks: ReadonlySet<number> }>({
  isWide: false,
  blocks: new Set(),
});

/** What stands beside the blocks. Apart from which, so that a document is not rendered again when it changes. */
export const NotesContext = createContext<ReadonlyMap<number, React.ReactNode>>(new Map());

/** Blocks of a document with what stands beside them. */
export function Beside({ blocks, children }: { blocks: number[]; children: React.ReactNode }) {
  const margin = use(MarginContext);
  const notes = blocks
    .filter((block) => margin.blocks.has(block))
    .map((block) => <Notes key={block} block={block} />);
  // The children keep their place among what is here, and so their elements.
  return (
    <>
      <Fragment key="beside">{margin.isWide && notes}</Fragment>
      <Fragment key="block">{children}</Fragment>
      <Fragment key="below">{!margin.isWide && notes}</Fragment>
    </>
  );
}

function Notes({ block }: { block: number }) {
  return use(NotesContext).get(block);
}
