import { useSyncExternalStore } from "react";

const never = () => () => undefined;

/** False on the server and during hydration, when local storage cannot be read yet. */
export function useInBrowser(): boolean {
  return useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
}
