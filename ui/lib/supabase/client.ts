import { createBrowserClient, parseCookieHeader, serializeCookieHeader } from "@supabase/ssr";
import type { Database } from "greenlight-client";
import { publicEnv } from "../public-env";
import { assertRoom, encode } from "./cookies";

/** The Supabase client of the signed-in user, in the browser: one for the page. */
export function createClient() {
  const { supabaseUrl, supabaseKey, cookieRoom } = publicEnv();
  return createBrowserClient<Database>(supabaseUrl, supabaseKey, {
    cookieOptions: { secure: location.protocol === "https:" },
    cookies: {
      encode,
      getAll: () => parseCookieHeader(document.cookie),
      setAll(cookies) {
        assertRoom(cookies, cookieRoom);
        for (const { name, value, options } of cookies)
          document.cookie = serializeCookieHeader(name, value, options);
      },
    },
    // In the page's memory: what is in local storage would outlive the session.
    auth: { userStorage: memory() },
  });
}

function memory() {
  const items = new Map<string, string>();
  return {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
  };
}
