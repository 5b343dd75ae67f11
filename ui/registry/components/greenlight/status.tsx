/** A status, as a word with a dot. */
export function Status({ status, children = status }: { status: string; children?: string }) {
  return (
    <span className="status" data-status={status}>
      {children}
    </span>
  );
}
