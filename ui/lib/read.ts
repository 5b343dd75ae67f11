import { toView } from "./document";
import type { Heading } from "./markdown";
import type { Answer, Order } from "./reader.worker";

const RETRY_MS = 200;

/**
 * Renders a document, and marks what has changed since `base`. Off the main thread, and only for some time: whatever the
 * document is, the page goes on. Returns a function that stops it.
 */
export function read(
  content: string,
  base: string | undefined,
  limitMs: number,
  onAnswer: (answer: Answer) => void,
): () => void {
  let worker: Worker | undefined;
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const limit = setTimeout(() => {
    finish({ reading: "slow", more: false });
  }, limitMs);
  start();
  return stop;

  function start() {
    worker = new Worker(new URL("./reader.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.more) onAnswer(data);
      else finish(data);
    };
    // Its script could not be loaded, or its memory ran out.
    worker.onerror = (event) => {
      event.preventDefault();
      worker?.terminate();
      if (++failures < 3) retry = setTimeout(start, RETRY_MS);
      else finish({ reading: "failed", more: false });
    };
    worker.postMessage({
      content: toView(content),
      base: base === undefined ? undefined : toView(base),
    } satisfies Order);
  }

  function finish(answer: Answer) {
    stop();
    onAnswer(answer);
  }

  function stop() {
    clearTimeout(limit);
    clearTimeout(retry);
    if (!worker) return;
    // A worker that is stopped while it is loading reports an error afterwards.
    worker.onmessage = worker.onerror = null;
    worker.terminate();
  }
}

/** The title of a document: its first heading, at most 500 characters. Null if it has none, or is hard to read. */
export async function titleOf(content: string): Promise<string | null> {
  const headings = await new Promise<Heading[]>((resolve) => {
    read(content, undefined, 1_000, ({ reading }) => {
      resolve(typeof reading === "string" ? [] : reading.headings);
    });
  });
  return (
    Array.from(headings[0]?.text ?? "")
      .slice(0, 500)
      .join("") || null
  );
}
