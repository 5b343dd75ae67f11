import { useSyncExternalStore } from "react";

const never = () => () => undefined;

/** False on the server and while React takes over its page: local storage is not there yet. */
export function useInBrowser(): boolean {
  return useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
}
