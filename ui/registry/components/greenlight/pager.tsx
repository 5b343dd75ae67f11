import { ArrowLeft, ArrowRight } from "lucide-react";
import { Button } from "@/components/ui/button";
import { AppLink } from "./link";

export const pagerTexts = {
  newer: "Newer",
  older: "Older",
  range: (first: number, last: number, count?: number) =>
    count === undefined ? `${first} to ${last}` : `${first} to ${last} of ${count}`,
};

interface Props {
  /** What is on the pages, for those who do not see them. */
  label: string;
  page: number;
  pageSize: number;
  /** How many the page shows. */
  shown: number;
  more: boolean;
  /** How many there are in all, if that is known. */
  count?: number;
  href: (page: number) => string;
  texts?: typeof pagerTexts;
}

/** Links to the pages before and after this one. A list of a single page has none. */
export function Pager({ label, page, pageSize, shown, more, count, href, texts = pagerTexts }: Props) {
  if (page === 1 && !more) return null;
  const first = (page - 1) * pageSize;
  return (
    <nav
      className="mt-4 grid grid-cols-[1fr_auto_1fr] items-center gap-4 text-sm text-muted-foreground tabular-nums [&>:last-child]:justify-self-end"
      aria-label={label}
    >
      {page > 1 ? (
        <Button variant="outline" size="sm" className="justify-self-start" asChild>
          <AppLink href={href(page - 1)} rel="prev">
            <ArrowLeft aria-hidden /> {texts.newer}
          </AppLink>
        </Button>
      ) : (
        <span />
      )}
      <span>{shown > 0 && texts.range(first + 1, first + shown, count)}</span>
      {more ? (
        <Button variant="outline" size="sm" asChild>
          <AppLink href={href(page + 1)} rel="next">
            {texts.older} <ArrowRight aria-hidden />
          </AppLink>
        </Button>
      ) : (
        <span />
      )}
    </nav>
  );
}

/** The number of a page in an address; anything else is the first page. */
export function pageNumber(value: string | string[] | null | undefined): number {
  return typeof value === "string" && /^[1-9]\d{0,5}$/.test(value) ? Number(value) : 1;
}
