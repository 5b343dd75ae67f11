import { ArrowLeft, ArrowRight } from "lucide-react";
import Link from "next/link";

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
}

/** Links to the pages before and after this one. A list of a single page has none. */
export function Pager({ label, page, pageSize, shown, more, count, href }: Props) {
  if (page === 1 && !more) return null;
  const first = (page - 1) * pageSize;
  return (
    <nav className="pager" aria-label={label}>
      {page > 1 ? (
        <Link className="button" href={href(page - 1)} rel="prev">
          <ArrowLeft aria-hidden /> Newer
        </Link>
      ) : (
        <span />
      )}
      <span className="muted">
        {shown > 0 && `${first + 1} to ${first + shown}`}
        {shown > 0 && count !== undefined && ` of ${count}`}
      </span>
      {more ? (
        <Link className="button" href={href(page + 1)} rel="next">
          Older <ArrowRight aria-hidden />
        </Link>
      ) : (
        <span />
      )}
    </nav>
  );
}

/** The number of a page in an address; anything else is the first page. */
export function pageNumber(value: string | string[] | undefined): number {
  return typeof value === "string" && /^[1-9]\d{0,5}$/.test(value) ? Number(value) : 1;
}
