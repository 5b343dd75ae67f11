import { LogOut } from "lucide-react";
import Link from "next/link";
import { signOut } from "@/actions/auth";
import { countWaiting } from "@/components/greenlight/plan-inbox/load-plans";
import { requireUser } from "@/lib/supabase/server";
import { Logo } from "./logo";
import { NavLink } from "./nav-link";
import { UserProvider } from "./user";
import { WaitingCount } from "./waiting-count";

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
      <a className="skip" href="#content">
        Skip to content
      </a>
      <header className="bar">
        <Link href="/agents" className="bar-logo" aria-label="Greenlight, home">
          <Logo />
          <span>Greenlight</span>
        </Link>
        <nav aria-label="Main">
          <NavLink href="/plans">
            Plans <WaitingCount initial={await countWaiting(supabase)} />
          </NavLink>
          <NavLink href="/agents">Agents</NavLink>
        </nav>
        <form action={signOut} className="bar-user">
          <span className="bar-email" title={user.email}>
            {user.email}
          </span>
          <button className="button quiet" aria-label="Sign out" title="Sign out">
            <LogOut aria-hidden />
          </button>
        </form>
      </header>
      {children}
    </UserProvider>
  );
}
