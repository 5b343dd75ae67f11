import { CircleAlert, Info, ShieldX } from "lucide-react";
import { Alert } from "@/components/ui/alert";
import { cn } from "@/lib/utils";

const TONES = {
  info: [Info, "border-info/30 bg-info/5 [&>svg]:text-info"],
  warning: [CircleAlert, "border-warning/40 bg-warning/5 [&>svg]:text-warning"],
  danger: [ShieldX, "border-destructive/40 bg-destructive/5 [&>svg]:text-destructive"],
} as const;

interface Props {
  tone: keyof typeof TONES;
  text: React.ReactNode;
  /** Buttons and links. */
  children?: React.ReactNode;
}

/** A message above a document, with what the user can do about it. */
export function Callout({ tone, text, children }: Props) {
  const [Icon, look] = TONES[tone];
  return (
    <Alert role={tone === "info" ? "status" : "alert"} className={cn("mb-5", look)}>
      <Icon aria-hidden />
      <div className="col-start-2 flex flex-wrap items-center justify-between gap-x-4 gap-y-2">
        <div className="grid min-w-0 grow basis-60 gap-2 leading-relaxed [overflow-wrap:anywhere]">
          {text}
        </div>
        {children && <div className="flex flex-wrap gap-2">{children}</div>}
      </div>
    </Alert>
  );
}
