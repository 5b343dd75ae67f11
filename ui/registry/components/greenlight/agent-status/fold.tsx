import { useState } from "react";

interface Props {
  title: string;
  /** Beside the title. */
  note?: React.ReactNode;
  isOpen?: boolean;
  children: React.ReactNode;
}

/** What is there to look at: it is rendered, and what it needs is loaded, once it is unfolded. */
export function Fold({ title, note, isOpen = false, children }: Props) {
  const [open, setOpen] = useState(isOpen);
  return (
    <details
      open={open}
      onToggle={(event) => {
        setOpen(event.currentTarget.open);
      }}
    >
      <summary className="w-fit cursor-pointer underline-offset-4 hover:underline">
        <span className="font-medium">{title}</span>
        {note && <span className="ml-2 text-[13px] text-muted-foreground tabular-nums">{note}</span>}
      </summary>
      {open && <div className="mt-2 overflow-hidden rounded-lg border bg-card">{children}</div>}
    </details>
  );
}
