import Link from "next/link";
import { PlainText } from "@/components/greenlight/plain-text";

export function Rows({ children }: { children: React.ReactNode }) {
  return <ul className="divide-y overflow-hidden rounded-xl border bg-card shadow-xs">{children}</ul>;
}

interface Props {
  href: string;
  title: string;
  /** What else there is to know. */
  children: React.ReactNode;
  /** A button beside the link. */
  action?: React.ReactNode;
}

export function Row({ href, title, children, action }: Props) {
  return (
    <li className="flex flex-wrap items-center gap-x-2 pr-4 hover:bg-accent/60">
      <Link
        href={href}
        className="flex min-w-0 flex-1 basis-72 flex-wrap items-center justify-between gap-x-4 gap-y-1 py-3.5 pl-4 -outline-offset-2!"
      >
        <strong className="min-w-0 flex-1 basis-56 font-medium [overflow-wrap:anywhere]">
          <PlainText>{title}</PlainText>
        </strong>
        <span className="flex flex-wrap items-center gap-x-3.5 gap-y-1 text-[13px] text-muted-foreground tabular-nums">
          {children}
        </span>
      </Link>
      {action}
    </li>
  );
}
