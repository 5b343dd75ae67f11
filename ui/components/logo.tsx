export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="9" />
      <circle cx="16" cy="16" r="7" />
    </svg>
  );
}
