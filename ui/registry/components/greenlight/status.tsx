import { Badge } from "@/components/ui/badge";
import { cn } from "@/lib/utils";

const GOOD = "bg-success/10 text-success";
const BAD = "bg-destructive/10 text-destructive";
const PENDING = "bg-info/10 text-info";

const LOOKS: Partial<Record<string, string>> = {
  building: "bg-warning/10 text-warning *:animate-pulse",
  active: GOOD,
  approved: GOOD,
  succeeded: GOOD,
  failed: BAD,
  rejected: BAD,
  paused: PENDING,
  changes_requested: PENDING,
};

/** The status of an agent or a plan, as a word with a light. */
export function Status({ status, children }: { status: string; children: string }) {
  return (
    <Badge variant="secondary" className={cn("text-muted-foreground", LOOKS[status])}>
      <span aria-hidden className="size-2 rounded-full bg-current" />
      {children}
    </Badge>
  );
}
