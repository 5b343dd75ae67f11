import { Shell } from "@/components/shell";
import { requireUser } from "@/lib/supabase/server";

export default async function AgentsLayout({ children }: { children: React.ReactNode }) {
  const { user } = await requireUser("/agents");
  return <Shell user={user}>{children}</Shell>;
}
