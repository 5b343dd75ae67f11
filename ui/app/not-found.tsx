import Link from "next/link";
import { Notice } from "@/components/notice";

export const metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <main id="content">
      <Notice title="There is nothing here">
        <p>The address may be mistyped, or what was here has gone.</p>
        <p>
          <Link className="button" href="/agents">
            Go to your agents
          </Link>
        </p>
      </Notice>
    </main>
  );
}
