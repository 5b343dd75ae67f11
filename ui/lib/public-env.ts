import type { PublicEnv } from "./env";

let known: PublicEnv | undefined;

/** The public settings, in the browser: the root layout writes them into a <meta> of every page. */
export function publicEnv(): PublicEnv {
  known ??= JSON.parse(
    document.querySelector<HTMLMetaElement>('meta[name="greenlight-env"]')?.content ?? "null",
  ) as PublicEnv;
  return known;
}
