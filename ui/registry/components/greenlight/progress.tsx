import type { Build } from "@/lib/greenlight/client";

/** A build's progress as a bar, and in percent if the builder reports it. */
export function Progress({ build, label }: { build: Build; label: string }) {
  const progress = build.status === "running" ? build.progress : null;
  return (
    <span className="progress">
      {/* Without a value the bar shows that the progress is unknown. */}
      <progress aria-label={label} max={100} {...(progress !== null && { value: progress })} />
      {progress !== null && <span aria-hidden>{progress} %</span>}
    </span>
  );
}
