import { CircleAlert, Info, ShieldX } from "lucide-react";

const ICONS = { info: Info, warning: CircleAlert, danger: ShieldX };

interface Props {
  tone: keyof typeof ICONS;
  text: React.ReactNode;
  /** Buttons and links. */
  children?: React.ReactNode;
}

/** A message above a document, with what the user can do about it. */
export function Callout({ tone, text, children }: Props) {
  const Icon = ICONS[tone];
  return (
    <div className="callout" data-tone={tone} role={tone === "info" ? "status" : "alert"}>
      <Icon aria-hidden />
      <div className="callout-text">{text}</div>
      {children && <div className="callout-actions">{children}</div>}
    </div>
  );
}
