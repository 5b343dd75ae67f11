import Link from "next/link";
import { Notice } from "./notice";
import { RestoreButton } from "./restore-button";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";

export function DeletedAgent({ id, name, deletedAt }: { id: string; name: string; deletedAt: string }) {
  return (
    <main id="content">
      <Notice title="This agent was deleted">
        <p>
          <PlainText>{name}</PlainText> was deleted <Time at={deletedAt} />. Its plans and documents are kept,
          and are restored with it.
        </p>
        <p className="row">
          <RestoreButton id={id} />
          <Link className="button" href="/agents">
            Go to your agents
          </Link>
        </p>
      </Notice>
    </main>
  );
}
