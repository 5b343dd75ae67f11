import { Logo } from "./logo";

/** The mark with the name; `className` is of the name. */
export function Wordmark({ className }: { className?: string }) {
  return (
    <span className="flex items-center gap-2.5 font-heading text-xl font-semibold">
      <Logo />
      <span className={className}>Greenlight</span>
    </span>
  );
}
