import { pageNumber } from "@/components/greenlight/pager";
import {
  listProposals,
  reader,
  type Changes,
  type ListMark,
  type PlanStatus,
  type Supabase,
} from "@/lib/greenlight/client";
import { loadPeople } from "@/lib/greenlight/people";

const DECIDED: PlanStatus[] = ["approved", "changes_requested", "rejected", "withdrawn"];

export const PAGE_SIZE = 20;

/** The lists: the user's own plans, and those of others in the user's teams. */
export const LISTS = [
  "waiting",
  "teamWaiting",
  "others",
  "expired",
  "teamExpired",
  "decided",
  "teamDecided",
] as const;

export type ListName = (typeof LISTS)[number];

/** Which page of each list is shown. */
export type Pages = Record<ListName, number>;

/** The page of each list, from the parameters of an address. */
export function pagesOf(parameters: Record<string, string | string[] | undefined>): Pages {
  return Object.fromEntries(LISTS.map((name) => [name, pageNumber(parameters[name])])) as Pages;
}

/** A page of each list, newest first. */
export async function loadPlans(supabase: Supabase, pages: Pages) {
  const limit = PAGE_SIZE;
  const asking = await reader(supabase);
  const list = (name: ListName, options: Parameters<typeof listProposals>[1]) =>
    listProposals(supabase, { ...options, reader: asking, page: pages[name], limit });
  const inTeams: typeof list = (name, options) =>
    asking.teams.length > 0 ? list(name, { owner: "others", ...options }) : Promise.resolve(NONE);
  const [waiting, teamWaiting, others, expired, teamExpired, decided, teamDecided] = await Promise.all([
    list("waiting", { owner: "own", mayDecide: true, expired: false }),
    inTeams("teamWaiting", { mayDecide: true, expired: false }),
    list("others", { owner: "own", mayDecide: false, expired: false }),
    list("expired", { owner: "own", expired: true }),
    inTeams("teamExpired", { mayDecide: true, expired: true }),
    list("decided", { owner: "own", status: DECIDED }),
    inTeams("teamDecided", { status: DECIDED }),
  ]);
  const lists = { waiting, teamWaiting, others, expired, teamExpired, decided, teamDecided };
  return {
    lists,
    people: await loadPeople(
      supabase,
      Object.values(lists).flatMap(({ plans }) => plans),
      asking,
    ),
  };
}

export type Plans = Awaited<ReturnType<typeof loadPlans>>;

/** What the lists show, to ask whether it has changed. */
export const SHOWN = { waiting: true, decided: true };

/** How many plans each list has, and when its newest one was proposed or decided. It stands on the first page. */
export function newestOf(lists: Plans["lists"]): Changes["lists"] {
  const mark = (name: ListName): [ListName, ListMark] => {
    const { plans, count } = lists[name];
    const time = name === "decided" || name === "teamDecided" ? "decided_at" : "created_at";
    return [name, [count, plans[0]?.[time] ?? null]];
  };
  return Object.fromEntries(LISTS.map(mark));
}

const NONE: Awaited<ReturnType<typeof listProposals>> = { plans: [], count: 0 };

/** How many proposals wait for the user, of what the database said. */
export function waitingIn({ lists }: Changes): number {
  return (lists?.waiting?.[0] ?? 0) + (lists?.teamWaiting?.[0] ?? 0);
}

/** How many proposals wait for the user. */
export async function countWaiting(supabase: Supabase): Promise<number> {
  const asking = await reader(supabase);
  const owners = asking.teams.length > 0 ? (["own", "others"] as const) : (["own"] as const);
  const lists = await Promise.all(
    owners.map((owner) =>
      listProposals(supabase, { owner, mayDecide: true, reader: asking, expired: false, limit: 1 }),
    ),
  );
  return lists.reduce((sum, { count }) => sum + count, 0);
}
