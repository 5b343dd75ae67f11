import type { Event } from "@/lib/agents";
import { Time } from "./time";

/** The ledger of an agent, newest first. */
export function Timeline({ events }: { events: Event[] }) {
  return (
    <ol className="timeline">
      {events.map((event) => (
        <li key={event.id} data-kind={event.kind} data-status={event.to_status}>
          <span className="timeline-what">{describe(event)}</span>
          <span className="timeline-who">
            {event.actor === null ? "the builder" : "you"}, <Time at={event.created_at} />
          </span>
        </li>
      ))}
    </ol>
  );
}

function describe({ kind, version, to_status }: Event): string {
  switch (kind) {
    case "approved":
      return `Version ${version} approved`;
    case "revised":
      return `Version ${version} approved, building anew`;
    case "deleted":
      return "Deleted";
    case "restored":
      return "Restored";
    default:
      return `Now ${to_status}`;
  }
}
