import type { Build } from "@/lib/greenlight/client";
import { cn } from "@/lib/utils";

const TRACK =
  "h-1.5 min-w-0 flex-1 appearance-none overflow-hidden rounded-full border-0 bg-primary/15 [&::-webkit-progress-bar]:bg-transparent";
const BAR =
  "[&::-moz-progress-bar]:bg-primary [&::-webkit-progress-value]:rounded-full [&::-webkit-progress-value]:bg-primary [&::-webkit-progress-value]:transition-[inline-size]";

interface Props {
  build: Build;
  label: string;
  className?: string;
}

/** A build's progress as a bar, and in percent if the builder reports it. Without a value the bar shows that it is unknown. */
export function Progress({ build, label, className }: Props) {
  const progress = build.status === "running" ? build.progress : null;
  return (
    <span
      className={cn("flex items-center gap-2.5 text-[13px] text-muted-foreground tabular-nums", className)}
    >
      <progress
        aria-label={label}
        max={100}
        className={cn(TRACK, BAR, progress === null && "animate-pulse")}
        {...(progress !== null && { value: progress })}
      />
      {progress !== null && <span aria-hidden>{progress} %</span>}
    </span>
  );
}
