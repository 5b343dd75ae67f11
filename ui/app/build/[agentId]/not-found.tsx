import Link from "next/link";
import { Notice } from "@/components/notice";

export default function AgentNotFound() {
  return (
    <main id="content">
      <Notice title="Agent not found">
        <p>There is no agent at this address, or it belongs to someone else.</p>
        <p>
          <Link className="button" href="/agents">
            Go to your agents
          </Link>
        </p>
      </Notice>
    </main>
  );
}
