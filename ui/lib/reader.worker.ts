import { markChanges, type Changes } from "./changes.ts";
import { outline, render, TooLarge, type Element, type Heading, type Rendering } from "./markdown.ts";

export interface Order {
  content: string;
  /** An earlier version, to mark what has changed since. */
  base: string | undefined;
}

export interface Read {
  blocks: Element[];
  headings: Heading[];
  hidden: Rendering["hidden"];
  /** Undefined without an earlier version, and null while or because it cannot be compared. */
  changes: Changes | null | undefined;
}

/** Why a document is not rendered. */
export type Unreadable = "slow" | "large" | "failed";

export interface Answer {
  reading: Read | Unreadable;
  /** Another answer follows, with the changes marked. */
  more: boolean;
}

// A document may take minutes to parse, or more memory than there is. That must not stop the page, so it is done here.
addEventListener("message", ({ data: { content, base } }: MessageEvent<Order>) => {
  const answer = (reading: Answer["reading"], more = false) => {
    postMessage({ reading, more } satisfies Answer);
  };
  try {
    const { blocks, hidden } = render(content);
    if (base === undefined) {
      answer({ ...outline(blocks), hidden, changes: undefined });
      return;
    }
    const unmarked = { ...outline(blocks), hidden, changes: null };
    // The earlier version may be the one that takes long.
    answer(unmarked, true);
    try {
      const { changes, blocks: marked } = markChanges(render(base).blocks, blocks);
      answer({ ...outline(marked), hidden, changes });
    } catch {
      answer(unmarked);
    }
  } catch (error) {
    answer(error instanceof TooLarge ? "large" : "failed");
  }
});
