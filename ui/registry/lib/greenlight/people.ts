import { displayNames, type Plan, type Reader, type Supabase } from "@/lib/greenlight/client";
import { visibleText } from "@/lib/greenlight/visible";

/** Who looks at plans, and what the other people of these plans are called. */
export interface People extends Reader {
  names: Record<string, string | null>;
}

/** Who looks at these plans, with the names of their people. */
export async function loadPeople(
  supabase: Supabase,
  plans: readonly Pick<Plan, "id" | "team_id">[],
  asking: Reader,
): Promise<People> {
  // Of a plan without a team, its owner is the only one who reads it.
  const ids = plans.filter(({ team_id }) => team_id !== null).map(({ id }) => id);
  const found = ids.length > 0 ? await displayNames(supabase, ids) : [];
  return { ...asking, names: Object.fromEntries(found.map(({ user_id, name }) => [user_id, name])) };
}

/** What a person is called: `you` for the reader, and without a name the beginning of the id. */
export function nameOf(id: string, people: People, you: string): string {
  return id === people.id ? you : visibleText(people.names[id] ?? id.slice(0, 8));
}

/**
 * What the one is called who decided on a plan; null if it was the reader. Decisions before 0.3 do not say who: it was the
 * owner.
 */
export function decider(plan: Pick<Plan, "decided_by" | "user_id">, people: People): string | null {
  const id = plan.decided_by ?? plan.user_id;
  return id === people.id ? null : nameOf(id, people, "");
}
