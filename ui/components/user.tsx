"use client";

import Link from "next/link";
import { createContext, use } from "react";
// Early, since it measures from the page's load.
import "@/lib/clock";
import { LinkContext } from "@/components/greenlight/link";
import type { User } from "@/lib/supabase/server";

const UserContext = createContext<User | null>(null);

export function UserProvider({ user, children }: { user: User; children: React.ReactNode }) {
  return (
    <UserContext value={user}>
      <LinkContext value={Link}>{children}</LinkContext>
    </UserContext>
  );
}

/** The signed-in user. Only for pages inside the shell: visitors do not get there. */
export function useUser(): User {
  const user = use(UserContext);
  if (!user) throw new Error("No user: this page is not inside the shell");
  return user;
}
