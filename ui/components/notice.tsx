import { Logo } from "./logo";
import { PageTitle } from "./page-title";

interface Props {
  light: "red" | "amber" | "green";
  title: string;
  children: React.ReactNode;
  actions: React.ReactNode;
}

/** A page with a single message. */
export function Notice({ light, title, children, actions }: Props) {
  return (
    <main
      id="content"
      className="mx-auto grid w-full max-w-lg justify-items-start gap-4 px-6 pt-[14vh] pb-16"
    >
      <Logo light={light} className="h-14 w-7" />
      <PageTitle>{title}</PageTitle>
      <p className="text-muted-foreground">{children}</p>
      <div className="mt-2 flex flex-wrap gap-2">{actions}</div>
    </main>
  );
}
