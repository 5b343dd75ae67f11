"use client";

import { useRouter } from "next/navigation";
import { createClient } from "@/lib/supabase/client";

/** The sign-in that the app has already. */
export default function SignIn() {
  const router = useRouter();
  async function signIn(form: FormData) {
    const { error } = await createClient().auth.signInWithPassword({
      email: String(form.get("email")),
      password: String(form.get("password")),
    });
    if (error) throw error;
    router.push("/plans");
  }
  return (
    <main>
      <form action={signIn}>
        <label>
          Email <input name="email" type="email" autoComplete="email" />
        </label>
        <label>
          Password{" "}
          <input
            name="password"
            type="password"
            autoComplete="current-password"
          />
        </label>
        <button>Sign in</button>
      </form>
    </main>
  );
}
