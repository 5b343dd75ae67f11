let offset = 0;

/** Says how far the server's clock is ahead, in milliseconds. Without it the reader's own clock counts. */
export function setClock(ahead: number): void {
  offset = ahead;
}

/** The time. A reader's clock may be hours off; in the end, the database decides what has expired. */
export function now(): number {
  return Date.now() + offset;
}
