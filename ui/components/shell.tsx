import Link from "next/link";
import { LogOut } from "lucide-react";
import { signOut } from "@/actions/auth";
import type { User } from "@/lib/supabase/server";
import { Logo } from "./logo";
import { NavLink } from "./nav-link";
import { UserProvider } from "./user";

/** What surrounds every page of a signed-in user. */
export function Shell({ user, children }: { user: User; children: React.ReactNode }) {
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
          <NavLink href="/build">Plan</NavLink>
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
