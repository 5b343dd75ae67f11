import Link from "next/link";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";
import { Button } from "@/components/ui/button";
import { Notice } from "./notice";
import { RestoreButton } from "./restore-button";

export function DeletedAgent({ id, name, deletedAt }: { id: string; name: string; deletedAt: string }) {
  return (
    <Notice
      light="amber"
      title="This agent was deleted"
      actions={
        <>
          <RestoreButton id={id} />
          <Button variant="outline" asChild>
            <Link href="/agents">Go to your agents</Link>
          </Button>
        </>
      }
    >
      <PlainText>{name}</PlainText> was deleted <Time at={deletedAt} />. Its plans and documents are kept, and
      are restored with it.
    </Notice>
  );
}
