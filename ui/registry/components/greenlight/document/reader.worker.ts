// First, because the parser asks for it when it is loaded.
import "./entities";
import { compareLines, markChanges, type Changes, type Line } from "./changes";
import { outline, render, TooLarge, type Element, type Heading, type Rendering } from "./markdown";

/** What to do with a document. What has changed is marked in the document that was rendered last. */
export type Order =
  | { to: "render"; content: string }
  | { to: "mark"; base: string }
  | { to: "compare"; content: string; base: string };

export interface Read {
  blocks: Element[];
  headings: Heading[];
  hidden: Rendering["hidden"];
  places: Rendering["places"];
}

export interface Marked extends Read {
  changes: Changes;
}

/** Why a document is not rendered. */
export type Unreadable = "slow" | "large" | "failed";

export interface Answers {
  render: Read | Unreadable;
  mark: Marked | Unreadable;
  compare: Line[] | Unreadable;
}

export type Answer = Answers[keyof Answers];

let rendering: Rendering = { blocks: [], hidden: {}, places: [], size: 0 };

function work(order: Order): Answer {
  if (order.to === "compare") return compareLines(order.base, order.content);
  if (order.to === "render") {
    rendering = render(order.content);
    const { hidden, places } = rendering;
    return { ...outline(rendering.blocks), hidden, places };
  }
  const { blocks, changes } = markChanges(render(order.base).blocks, rendering.blocks);
  const { hidden, places } = rendering;
  return { ...outline(blocks), hidden, places, changes };
}

// A document may take minutes to parse, or more memory than there is. That must not stop the page, so it is done here.
addEventListener("message", ({ data }: MessageEvent<Order>) => {
  let answer: Answer;
  try {
    answer = work(data);
  } catch (error) {
    answer = error instanceof TooLarge ? "large" : "failed";
  }
  postMessage(answer);
});
