import type { Metadata } from "next";
import Link from "next/link";
import { pageNumber } from "@/components/pager";
import { Plans } from "@/components/plans";
import { loadPlans } from "@/lib/plans";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Plans" };

interface Props {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}

export default async function PlansPage({ searchParams }: Props) {
  const { waiting, expired, decided } = await searchParams;
  const { supabase } = await requireUser("/plans");
  const pages = {
    waiting: pageNumber(waiting),
    expired: pageNumber(expired),
    decided: pageNumber(decided),
  };
  return (
    <main id="content" className="page narrow">
      <div className="list-head">
        <h1>Plans</h1>
        <Link className="button" href="/build">
          Open a plan
        </Link>
      </div>
      <Plans pages={pages} initial={await loadPlans(supabase, pages)} />
    </main>
  );
}
