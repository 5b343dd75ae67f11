"use client";

import { useState } from "react";
import { Alert, AlertDescription, AlertTitle } from "@/components/ui/alert";
import { Button } from "@/components/ui/button";
import { loadClient } from "@/lib/greenlight/load-client";
import { mayOpen, problemOf, PROBLEMS, type Problem } from "@/lib/oauth";

type State = { at: "open" | "sending" } | { at: "failed"; problem: Problem } | { at: "decided"; url: string };

/** Allow and deny. Supabase Auth says where the browser goes then. */
export function ConsentForm({ id }: { id: string }) {
  const [state, setState] = useState<State>({ at: "open" });

  async function decide(allow: boolean) {
    setState({ at: "sending" });
    try {
      const { oauth } = (await loadClient()).auth;
      const options = { skipBrowserRedirect: true };
      const { data, error } = await (allow
        ? oauth.approveAuthorization(id, options)
        : oauth.denyAuthorization(id, options));
      if (error) {
        setState({ at: "failed", problem: problemOf(error) });
      } else if (!mayOpen(data.redirect_url)) {
        setState({ at: "failed", problem: "unsafe" });
      } else {
        setState({ at: "decided", url: data.redirect_url });
        location.assign(data.redirect_url);
      }
    } catch {
      setState({ at: "failed", problem: "unknown" });
    }
  }

  if (state.at === "decided")
    return (
      // A program on this device opens beside this page.
      <p role="status" className="text-sm">
        Back to the planner… If nothing happens,{" "}
        <a className="text-primary underline underline-offset-4" href={state.url}>
          continue here
        </a>
        , or close this page.
      </p>
    );
  return (
    <div className="grid gap-4">
      {state.at === "failed" && <ProblemNotice problem={state.problem} />}
      <div className="flex flex-wrap justify-end gap-2">
        <Button variant="outline" disabled={state.at === "sending"} onClick={() => decide(false)}>
          Deny
        </Button>
        <Button disabled={state.at === "sending"} onClick={() => decide(true)}>
          Allow
        </Button>
      </div>
    </div>
  );
}

/** What went wrong. */
export function ProblemNotice({ problem }: { problem: Problem }) {
  const { title, text } = PROBLEMS[problem];
  return (
    <Alert variant="destructive">
      <AlertTitle>{title}</AlertTitle>
      <AlertDescription>{text}</AlertDescription>
    </Alert>
  );
}
