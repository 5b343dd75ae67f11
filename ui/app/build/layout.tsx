import { Shell } from "@/components/shell";
import { requireUser } from "@/lib/supabase/server";

export default async function BuildLayout({ children }: { children: React.ReactNode }) {
  const { user } = await requireUser("/build");
  return <Shell user={user}>{children}</Shell>;
}
