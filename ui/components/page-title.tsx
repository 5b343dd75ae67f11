interface Props {
  children: React.ReactNode;
  /** Beside the title. */
  action?: React.ReactNode;
}

export function PageTitle({ children, action }: Props) {
  return (
    <div className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3">
      <h1 className="font-heading text-[26px] leading-tight font-semibold tracking-[-0.01em] text-balance [overflow-wrap:anywhere] sm:text-3xl">
        {children}
      </h1>
      {action}
    </div>
  );
}
