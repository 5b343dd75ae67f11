import type { Metadata } from "next";
import Link from "next/link";
import { pageNumber } from "@/components/greenlight/pager";
import { loadPlans } from "@/components/greenlight/plan-inbox/load-plans";
import { Page } from "@/components/page";
import { Plans } from "@/components/plans";
import { Button } from "@/components/ui/button";
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
    <Page className="max-w-3xl">
      <div className="mb-8 flex flex-wrap items-center justify-between gap-3">
        <h1 className="font-heading text-3xl font-semibold">Plans</h1>
        <Button variant="outline" asChild>
          <Link href="/build">Open a plan</Link>
        </Button>
      </div>
      <Plans pages={pages} plans={await loadPlans(supabase, pages)} />
    </Page>
  );
}
