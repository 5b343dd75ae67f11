import Link from "next/link";
import { Notice } from "@/components/notice";
import { Button } from "@/components/ui/button";

export default function AgentNotFound() {
  return (
    <Notice
      light="amber"
      title="Agent not found"
      actions={
        <Button variant="outline" asChild>
          <Link href="/agents">Go to your agents</Link>
        </Button>
      }
    >
      There is no agent at this address, or it belongs to someone else.
    </Notice>
  );
}
