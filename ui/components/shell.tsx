import { LogOut } from "lucide-react";
import Link from "next/link";
import { signOut } from "@/actions/auth";
import { Button } from "@/components/ui/button";
import { countWaiting } from "@/components/greenlight/plan-inbox/load-plans";
import { requireUser } from "@/lib/supabase/server";
import { NavLink } from "./nav-link";
import { UserProvider } from "./user";
import { WaitingCount } from "./waiting-count";
import { Wordmark } from "./wordmark";

interface Props {
  /** Where a visitor comes back to after signing in. */
  path: string;
  children: React.ReactNode;
}

/** The frame of every page of a signed-in user. */
export async function Shell({ path, children }: Props) {
  const { supabase, user } = await requireUser(path);
  return (
    <UserProvider user={user}>
      <a
        href="#content"
        className="sr-only rounded-md bg-foreground px-3.5 py-2 text-background focus:not-sr-only focus:fixed focus:top-2.5 focus:left-3 focus:z-30"
      >
        Skip to content
      </a>
      <header className="sticky top-0 z-20 flex h-14 items-center gap-4 border-b bg-background/85 px-4 backdrop-blur-md sm:gap-6 sm:px-6">
        <Link href="/agents" aria-label="Greenlight, home" className="rounded-md">
          <Wordmark className="max-sm:hidden" />
        </Link>
        <nav aria-label="Main" className="flex gap-1">
          <NavLink href="/plans">
            Plans <WaitingCount initial={await countWaiting(supabase)} />
          </NavLink>
          <NavLink href="/agents">Agents</NavLink>
        </nav>
        <form action={signOut} className="ml-auto flex min-w-0 items-center gap-2">
          <span className="truncate text-[13px] text-muted-foreground max-sm:hidden" title={user.email}>
            {user.email}
          </span>
          <Button variant="ghost" size="icon" aria-label="Sign out" title="Sign out">
            <LogOut aria-hidden />
          </Button>
        </form>
      </header>
      {children}
    </UserProvider>
  );
}
