import Link from "next/link";
import { Notice } from "@/components/notice";
import { Button } from "@/components/ui/button";

export const metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <Notice
      light="amber"
      title="Page not found"
      actions={
        <Button variant="outline" asChild>
          <Link href="/agents">Go to your agents</Link>
        </Button>
      }
    >
      The address may be wrong, or the page no longer exists.
    </Notice>
  );
}
