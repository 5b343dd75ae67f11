import { cn } from "@/lib/utils";

const LIGHTS = [
  { light: "red", y: 7, colour: "fill-[#f2777a]" },
  { light: "amber", y: 16, colour: "fill-[#f2c14e]" },
  { light: "green", y: 25, colour: "fill-[#4cc38a]" },
] as const;

interface Props {
  /** The light that is on. */
  light?: (typeof LIGHTS)[number]["light"];
  className?: string;
}

/** A traffic light: what is on is large, the others wait. */
export function Logo({ light = "green", className }: Props) {
  return (
    <svg viewBox="8 0 16 32" className={cn("h-7 w-3.5 shrink-0", className)} aria-hidden>
      <rect x="8" width="16" height="32" rx="8" className="fill-[#1b1d1a] dark:fill-[#30332d]" />
      {LIGHTS.map(({ light: own, y, colour }) => (
        <circle
          key={own}
          cx="16"
          cy={own === light ? (y - 16) * 0.92 + 16 : y}
          r={own === light ? 5 : 2}
          className={own === light ? colour : "fill-white/35"}
        />
      ))}
    </svg>
  );
}
