import { Card, CardContent } from "@/components/ui/card";
import { Wordmark } from "./wordmark";

interface Props {
  title: React.ReactNode;
  children: React.ReactNode;
  /** Below the form. */
  footer?: React.ReactNode;
}

/** The frame of the pages on which a visitor signs in, or does what belongs to it. */
export function AuthCard({ title, children, footer }: Props) {
  return (
    <main id="content" className="grid min-h-dvh place-content-center justify-items-center gap-6 p-4">
      <Wordmark />
      <Card className="w-[min(24rem,calc(100vw-2rem))] py-8">
        <CardContent className="grid gap-5 px-8">
          <h1 className="font-heading text-2xl leading-tight font-semibold tracking-[-0.01em] [overflow-wrap:anywhere]">
            {title}
          </h1>
          {children}
          {footer && <p className="text-sm text-muted-foreground">{footer}</p>}
        </CardContent>
      </Card>
      <p className="text-sm text-muted-foreground">Read the plan. Approve it. Watch its agent.</p>
    </main>
  );
}
