import { publicEnv } from "./public-env";

/** The time by the server's clock: a reader's may be hours off. In the end, the database decides what has expired. */
export function now(): number {
  offset ??= measure();
  return Date.now() + (offset ?? 0);
}

let offset = measure();

/** How far the server's clock is ahead. Undefined on the server, and on an error page without settings. */
function measure(): number | undefined {
  if (typeof document === "undefined") return;
  const { now } = (publicEnv() as Partial<ReturnType<typeof publicEnv>> | null) ?? {};
  return now === undefined ? undefined : now - answeredAt();
}

/** When the server sent this page, by the reader's clock. */
function answeredAt(): number {
  const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  return Date.now() - performance.now() + (navigation?.responseStart ?? 0);
}
