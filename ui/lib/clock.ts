import { setClock } from "@/lib/greenlight/clock";
import { publicEnv } from "./public-env";

// By the server's clock: it wrote its time into the page. There is none on the server, and on an error page.
if (typeof document !== "undefined") {
  const { now } = (publicEnv() as Partial<ReturnType<typeof publicEnv>> | null) ?? {};
  if (now !== undefined) setClock(now - answeredAt());
}

/** When the server sent this page, by the reader's clock. */
function answeredAt(): number {
  const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  return Date.now() - performance.now() + (navigation?.responseStart ?? 0);
}
