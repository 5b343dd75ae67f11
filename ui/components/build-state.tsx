"use client";

import type { AgentStatus, Build } from "greenlight-client";
import { RotateCw } from "lucide-react";
import { Callout } from "@/components/greenlight/callout";
import { Progress } from "@/components/greenlight/progress";
import { PlainText } from "@/components/greenlight/plain-text";
import { Time } from "@/components/greenlight/time";

interface Props {
  status: AgentStatus;
  build: Build | null;
  busy: boolean;
  onRetry: () => void;
}

/** The progress of the build, why it failed, or what the builder said last. */
export function BuildState({ status, build, busy, onRetry }: Props) {
  if (status === "failed")
    return (
      <div className="build-state">
        <Callout
          tone="danger"
          text={<PlainText>{build?.message ?? "The builder gave no reason."}</PlainText>}
        >
          <button type="button" className="button primary" disabled={busy} onClick={onRetry}>
            <RotateCw aria-hidden /> Try again
          </button>
        </Callout>
      </div>
    );
  if (status === "active" && build?.message)
    return (
      <div className="build-state">
        <p className="build-facts">
          <PlainText>{build.message}</PlainText>
        </p>
      </div>
    );
  if (status !== "building" || !build) return null;
  return (
    <div className="build-state">
      <Progress build={build} label="Build progress" />
      <p className="build-facts">
        <span>
          <PlainText>
            {build.message ?? (build.status === "queued" ? "Waiting for a builder" : "Building")}
          </PlainText>
        </span>
        {build.attempt > 1 && <span className="muted">Attempt {build.attempt}</span>}
        {build.status === "queued" && build.attempt > 0 && (
          <span className="muted">
            Attempt {build.attempt} failed, the next one starts <Time at={build.run_after} />
          </span>
        )}
      </p>
    </div>
  );
}
