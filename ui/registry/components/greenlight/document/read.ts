import { MAX_TITLE_LENGTH } from "@/lib/greenlight/client";
import { toView } from "./bytes";
import type { Answer, Answers, Order, Unreadable } from "./reader.worker";

const RETRY_MS = 200;
const LIMIT_MS = 15_000;

/** Answers come in the order of the calls, and none after `stop`. */
export interface Reader {
  render: (content: string) => Promise<Answers["render"]>;
  /** Marks what has changed in the document that was rendered last. */
  mark: (base: string) => Promise<Answers["mark"]>;
  /** Compares two sources. */
  compare: (content: string, base: string) => Promise<Answers["compare"]>;
  stop: () => void;
}

interface Waiting {
  order: Order;
  answer: (answer: Answer) => void;
}

/** Renders and compares documents. Off the main thread, and only for some time: whatever the document is, the page goes on. */
export function openReader(limitMs = LIMIT_MS): Reader {
  let worker: Worker | undefined;
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let limit: ReturnType<typeof setTimeout> | undefined;
  let waiting: Waiting[] = [];
  let rendered: Order | undefined;
  return {
    render(content) {
      rendered = { to: "render", content: toView(content) };
      return ask(rendered) as Promise<Answers["render"]>;
    },
    mark: (base) => ask({ to: "mark", base: toView(base) }) as Promise<Answers["mark"]>,
    compare: (content, base) =>
      ask({ to: "compare", content: toView(content), base: toView(base) }) as Promise<Answers["compare"]>,
    stop,
  };

  function ask(order: Order): Promise<Answer> {
    return new Promise((answer) => {
      waiting.push({ order, answer });
      if (waiting.length === 1) watch();
      if (worker) worker.postMessage(order);
      else if (retry === undefined) start();
    });
  }

  function start() {
    retry = undefined;
    worker = new Worker(new URL("./reader.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      waiting.shift()?.answer(data);
      watch();
    };
    // Its script could not be loaded, or its memory ran out.
    worker.onerror = (event) => {
      event.preventDefault();
      dismiss();
      if (++failures < 3) retry = setTimeout(start, RETRY_MS);
      else giveUp("failed");
    };
    // A new worker has rendered nothing yet.
    if (rendered && !waiting.some(({ order }) => order === rendered))
      waiting.unshift({ order: rendered, answer: () => undefined });
    for (const { order } of waiting) worker.postMessage(order);
  }

  function watch() {
    clearTimeout(limit);
    if (waiting.length > 0)
      limit = setTimeout(() => {
        giveUp("slow");
      }, limitMs);
  }

  function giveUp(why: Unreadable) {
    const unanswered = waiting;
    stop();
    failures = 0;
    for (const { answer } of unanswered) answer(why);
  }

  function dismiss() {
    if (!worker) return;
    // A worker that is stopped while it is loading reports an error afterwards.
    worker.onmessage = worker.onerror = null;
    worker.terminate();
    worker = undefined;
  }

  function stop() {
    clearTimeout(limit);
    clearTimeout(retry);
    retry = undefined;
    waiting = [];
    dismiss();
  }
}

/** The title of a document: its first heading, cut at the longest title. Null if it has none, or is hard to read. */
export async function titleOf(content: string): Promise<string | null> {
  // Most of the time goes by while the parser is loaded.
  const reader = openReader(5_000);
  const answer = await reader.render(content);
  reader.stop();
  const [heading] = typeof answer === "string" ? [] : answer.headings;
  return (
    Array.from(heading?.text ?? "")
      .slice(0, MAX_TITLE_LENGTH)
      .join("") || null
  );
}
