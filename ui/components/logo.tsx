/** A traffic light, reduced to three lights: the lowest one is on. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden>
      <rect x="8" y="1" width="16" height="30" rx="8" />
      <circle cx="16" cy="8" r="2.25" opacity="0.35" />
      <circle cx="16" cy="14.5" r="2.25" opacity="0.35" />
      <circle className="lit" cx="16" cy="22.75" r="5" />
    </svg>
  );
}
