import type { Metadata } from "next";
import Link from "next/link";
import { Plans } from "@/components/plans";
import { loadPlans } from "@/lib/plans";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Plans" };

export default async function PlansPage() {
  const { supabase } = await requireUser("/plans");
  return (
    <main id="content" className="page narrow">
      <div className="list-head">
        <h1>Plans</h1>
        <Link className="button" href="/build">
          Open a plan
        </Link>
      </div>
      <Plans initial={await loadPlans(supabase)} />
    </main>
  );
}
