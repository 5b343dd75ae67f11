import { useDocument } from "@/components/greenlight/document/use-document";
import { PlainText } from "@/components/greenlight/plain-text";
import { Quote } from "@/components/greenlight/quote";
import { Skeleton } from "@/components/ui/skeleton";
import { locateComment, type Plan, type PlanComment } from "@/lib/greenlight/client";
import { Fold } from "./fold";
import type { AgentStatusTexts } from "./texts";

/** What the human wrote for the builder when they approved the plan: on the whole, and on passages. */
export function ApprovalNote({ plan, texts }: { plan: Plan; texts: AgentStatusTexts }) {
  return (
    <>
      {plan.comment !== null && (
        <div className="*:mt-0">
          <Quote label={texts.note}>{plan.comment}</Quote>
        </div>
      )}
      {plan.comments && (
        <Fold title={texts.comments(plan.comments.length)}>
          <Passages plan={plan} comments={plan.comments} texts={texts} />
        </Fold>
      )}
    </>
  );
}

interface PassagesProps {
  plan: Plan;
  comments: PlanComment[];
  texts: AgentStatusTexts;
}

/** The comments, each with the line in which its passage stands: only the document can tell whether it does. */
function Passages({ plan, comments, texts }: PassagesProps) {
  const { data, error } = useDocument(plan);
  if (!data && !error) return <Skeleton className="m-4 h-20" aria-busy="true" />;
  const text = data?.verified ? data.content : null;
  return (
    <ol className="divide-y">
      {comments.map((comment, at) => {
        const place = locateComment(text ?? "", comment);
        return (
          <li key={at} className="grid gap-1 px-4 py-3 [overflow-wrap:anywhere]">
            <p className="whitespace-pre-wrap">
              <PlainText>{comment.body}</PlainText>
            </p>
            <Quote label={place ? texts.line(lineOf(text ?? "", place.start)) : texts.otherPassage}>
              {comment.exact}
            </Quote>
          </li>
        );
      })}
    </ol>
  );
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split(/\r\n|\r|\n/).length;
}
