import type { Plan } from "greenlight-client";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";
import { Badge } from "@/components/ui/badge";

/** The approved versions. A title is named where it is not the one of the page. */
export function Versions({ plans, current }: { plans: Plan[]; current: Plan }) {
  return (
    <ol className="divide-y text-sm">
      {plans.map(({ id, version, title, created_at }) => (
        <li
          key={id}
          aria-current={id === current.id ? "true" : undefined}
          className="flex flex-wrap items-center justify-between gap-x-2 gap-y-1 py-2.5 first:pt-0"
        >
          <Badge variant="outline" className={id === current.id ? "border-success text-success" : undefined}>
            Version {version}
          </Badge>
          <span className="text-[13px] text-muted-foreground">
            <Time at={created_at} />
          </span>
          {title !== current.title && (
            <span className="basis-full [overflow-wrap:anywhere]">
              <PlainText>{title}</PlainText>
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}
