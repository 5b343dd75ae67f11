import "server-only";
import { createServerClient } from "@supabase/ssr";
import type { Database } from "greenlight-client";
import { cookies } from "next/headers";
import { redirect } from "next/navigation";
import { env } from "../env";

/** A Supabase client for the user of this request. Do not keep it: it holds the user's tokens. */
export async function createClient() {
  const store = await cookies();
  return createServerClient<Database>(
    env.NEXT_PUBLIC_SUPABASE_URL,
    env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
    {
      cookies: {
        getAll: () => store.getAll(),
        setAll(cookies) {
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

export interface User {
  id: string;
  email: string;
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
