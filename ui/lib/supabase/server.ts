import "server-only";
import { createServerClient } from "@supabase/ssr";
import type { Database } from "greenlight-client";
import { cookies, headers } from "next/headers";
import { redirect } from "next/navigation";
import { cookieRoom, env } from "../env";
import { assertRoom, AUTH_COOKIE, encode, isHttps } from "./cookies";

/** A Supabase client for the user of this request. Do not keep it: it holds the user's tokens. */
export async function createClient() {
  const store = await cookies();
  return createServerClient<Database>(
    env.NEXT_PUBLIC_SUPABASE_URL,
    env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
    {
      cookieOptions: { secure: isHttps(await headers()) },
      cookies: {
        encode,
        getAll: () => store.getAll(),
        setAll(cookies) {
          assertRoom(cookies, cookieRoom);
          try {
            for (const { name, value, options } of cookies) store.set(name, value, options);
          } catch {
            // A page cannot set cookies while it renders; the proxy has refreshed the session before it.
          }
        },
      },
    },
  );
}

/** Removes the session from this browser, whatever Supabase says: it may be the session that Supabase does not take. */
export async function forgetSession() {
  const store = await cookies();
  for (const { name } of store.getAll()) if (AUTH_COOKIE.test(name)) store.delete(name);
}

export interface User {
  id: string;
  email: string;
}

/** The signed-in user, if there is one. */
export async function currentUser() {
  const { data } = await (await createClient()).auth.getClaims();
  return data && ({ id: data.claims.sub, email: data.claims.email ?? "" } satisfies User);
}

/** The signed-in user and their client; a visitor who is not signed in is sent to sign in, and comes back to `path`. */
export async function requireUser(path: string) {
  const supabase = await createClient();
  const { data, error } = await supabase.auth.getClaims();
  if (!data) {
    if (error?.name === "AuthRetryableFetchError") throw error;
    redirect(`/sign-in?next=${encodeURIComponent(path)}`);
  }
  return { supabase, user: { id: data.claims.sub, email: data.claims.email ?? "" } satisfies User };
}
