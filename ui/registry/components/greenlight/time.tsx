"use client";

import { useSyncExternalStore } from "react";
import { now as serverTime } from "@/lib/greenlight/clock";

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;

function subscribe(listener: () => void) {
  const timer = setInterval(listener, 20_000);
  return () => {
    clearInterval(timer);
  };
}

// Rounded, so that React sees the same snapshot until there is something new to show.
function now() {
  return Math.floor(serverTime() / 20_000) * 20_000;
}

/** A moment relative to now ("5 minutes ago", "in 2 hours"), exact on hover. The server, which does not know the reader's time zone, shows the day. */
export function Time({ at }: { at: string }) {
  const time = new Date(at);
  const current = useSyncExternalStore(subscribe, now, () => null);
  return (
    <time dateTime={at} title={current === null ? undefined : time.toLocaleString("en")}>
      {current === null ? at.slice(0, 10) : relative(time, current)}
    </time>
  );
}

function relative(time: Date, current: number): string {
  const seconds = (time.getTime() - current) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) {
      if (unit === "day" && Math.abs(seconds) >= 30 * length)
        return time.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
      return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(
        Math.trunc(seconds / length),
        unit,
      );
    }
  }
  // The current time is rounded down, so a moment ago may seem to be in the future.
  return seconds > 20 ? "in less than a minute" : "just now";
}
