import Link from "next/link";
import { Notice } from "@/components/notice";

export const metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <main id="content">
      <Notice title="Page not found">
        <p>The address may be wrong, or the page no longer exists.</p>
        <p>
          <Link className="button" href="/agents">
            Go to your agents
          </Link>
        </p>
      </Notice>
    </main>
  );
}
