import type { Metadata } from "next";
import Link from "next/link";
import { loadPlans, pagesOf } from "@/components/greenlight/plan-inbox/load-plans";
import { Page } from "@/components/page";
import { PageTitle } from "@/components/page-title";
import { Plans } from "@/components/plans";
import { Button } from "@/components/ui/button";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Plans" };

interface Props {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}

export default async function PlansPage({ searchParams }: Props) {
  const { supabase } = await requireUser("/plans");
  const pages = pagesOf(await searchParams);
  return (
    <Page className="grid max-w-3xl content-start gap-8">
      <PageTitle
        action={
          <div className="flex gap-2">
            <Button variant="ghost" asChild>
              <Link href="/planners">Connected planners</Link>
            </Button>
            <Button variant="outline" asChild>
              <Link href="/build">Open a plan</Link>
            </Button>
          </div>
        }
      >
        Plans
      </PageTitle>
      <Plans pages={pages} plans={await loadPlans(supabase, pages)} />
    </Page>
  );
}
