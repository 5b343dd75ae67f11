/** An agent's status, as a word with a dot. */
export function Status({ status }: { status: string }) {
  return (
    <span className="status" data-status={status}>
      {status}
    </span>
  );
}
