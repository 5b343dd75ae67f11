import { useLoaded } from "@/hooks/use-loaded";
import { getPreviousDecision, type Plan } from "@/lib/greenlight/client";
import { loadClient } from "@/lib/greenlight/load-client";

/** The version that a proposal is compared with: null if there is none, undefined while it is not known. */
export function usePreviousDecision(plan: Plan | undefined) {
  return useLoaded(plan?.id ?? "", plan && (async () => getPreviousDecision(await loadClient(), plan)));
}
