import { useEffect, useState } from "react";
import { now } from "@/lib/greenlight/clock";

// The longest time that setTimeout takes.
const LONGEST_MS = 2 ** 31 - 1;

/** Whether the time has passed by the server's clock. The database decides. */
export function useExpired(expiresAt: string | null): boolean {
  const [passed, setPassed] = useState<string | null>(null);
  useEffect(() => {
    if (expiresAt === null) return;
    const left = Date.parse(expiresAt) - now();
    if (left > LONGEST_MS) return;
    const timer = setTimeout(() => {
      setPassed(expiresAt);
    }, left);
    return () => {
      clearTimeout(timer);
    };
  }, [expiresAt]);
  return expiresAt !== null && passed === expiresAt;
}
