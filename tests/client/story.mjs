// A plan's whole life through the packed package, for everybody who has a part in it: the planner, the human, a builder,
// and a stranger. Runs in Node.js and in Deno.
import assert from "node:assert/strict";
import { createHash, createHmac, randomUUID } from "node:crypto";
import process from "node:process";
import { createClient } from "@supabase/supabase-js";
import {
  approvePlan,
  archiveAgent,
  commentOn,
  decodeDocument,
  deleteAgent,
  deletedAgents,
  feedback,
  getAgent,
  getBuildLog,
  getDocument,
  getPlan,
  getPlanningSession,
  getPreviousDecision,
  GreenlightError,
  listAgents,
  listBuilds,
  listProposals,
  locateComment,
  pauseAgent,
  proposePlan,
  rejectPlan,
  requestChanges,
  restoreAgent,
  resumeAgent,
  retryBuild,
  shownResult,
  stopBuild,
  watchAgent,
  watchProposal,
  withdrawPlan,
} from "greenlight-client";

const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, SUPABASE_SECRET_KEY, SUPABASE_JWT_SECRET } = process.env;
const auth = { persistSession: false, autoRefreshToken: false };
const connect = (key = SUPABASE_PUBLISHABLE_KEY, options = {}) =>
  createClient(SUPABASE_URL, key, { auth, ...options });
const sha256 = (content) => createHash("sha256").update(content).digest("hex");

async function signUp(options) {
  const supabase = connect(undefined, options);
  const credentials = { email: `${randomUUID()}@example.com`, password: randomUUID() };
  const { data, error } = await supabase.auth.signUp(credentials);
  assert.equal(error, null);
  return { supabase, id: data.user.id, token: data.session.access_token };
}

/** The user's token as Supabase's OAuth server gives it to another program: with a client_id. */
function asClient(token) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
  const unsigned = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ ...claims, client_id: "a-planner" })}`;
  return `${unsigned}.${createHmac("sha256", SUPABASE_JWT_SECRET).update(unsigned).digest("base64url")}`;
}

async function refused(promise, code) {
  const error = await promise.then(
    (value) => assert.fail(`${code} expected, not ${JSON.stringify(value)}`),
    (error) => error,
  );
  assert.ok(error instanceof GreenlightError, String(error));
  assert.equal(error.code, code, String(error));
  assert.equal(error.retryable, false);
  return error;
}

/** What a watcher tells of, to be waited for. */
function sightings(start) {
  const seen = [];
  let wake = () => {};
  const stop = start((value) => {
    seen.push(value);
    wake();
  });
  const until = async (wanted) => {
    while (!seen.some(wanted)) await new Promise((resolve) => (wake = resolve));
    return seen.find(wanted);
  };
  return { until, stop };
}

const ada = await signUp();
const stranger = await signUp();
const planner = connect(undefined, { accessToken: () => Promise.resolve(asClient(ada.token)) });
const admin = connect(SUPABASE_SECRET_KEY);
const sessionId = `s-${randomUUID()}`;
const first = "\uFEFF# Plan\r\n\r\nWörter, 計画 ☕️\n";
const second = `${first}\nChanged.\n`;
const of = (version, more = {}) => ({ sessionId, version, ...more });
const plan = (version, content) => of(version, { title: "Plan", content, userId: ada.id });

// The planner proposes, again and again, and decides nothing.
const proposed = await proposePlan(planner, plan(1, first));
assert.deepEqual([proposed.status, proposed.version, proposed.created], ["proposed", 1, true]);
assert.deepEqual(await proposePlan(planner, plan(1, first)), { ...proposed, created: false });
await refused(approvePlan(planner, of(1, { content: first })), "human_required");
await refused(approvePlan(planner, plan(1, first)), "human_required");
await refused(requestChanges(planner, of(1, { comment: "No." })), "human_required");
await refused(proposePlan(planner, plan(1, second)), "plan_conflict");
const decision = sightings((tell) => watchProposal(planner, of(1), tell));
await decision.until((found) => found?.status === "proposed");

// A stranger sees none of it.
assert.deepEqual(await listProposals(stranger.supabase), { plans: [], count: 0 });
assert.equal(await getPlan(stranger.supabase, of(1)), null);
const nothing = { agent: null, approved: null, proposal: null, plans: [] };
assert.deepEqual(await getPlanningSession(stranger.supabase, sessionId), nothing);
await refused(rejectPlan(stranger.supabase, of(1)), "plan_not_found");
await refused(approvePlan(stranger.supabase, of(1, { content: first })), "invalid_title");
await refused(proposePlan(stranger.supabase, plan(1, first)), "upstream_error");

// The human reads it, and sends it back.
const waiting = await listProposals(ada.supabase);
assert.equal(waiting.count, 1);
assert.deepEqual(
  waiting.plans.map(({ id, proposed_by, expires_at }) => [id, proposed_by, expires_at]),
  [[proposed.plan_id, "a-planner", null]],
);
assert.deepEqual(await listProposals(ada.supabase, { expired: false, page: 1, limit: 1 }), waiting);
assert.deepEqual(await listProposals(ada.supabase, { page: 2, limit: 1 }), { plans: [], count: 1 });
assert.deepEqual(await listProposals(ada.supabase, { expired: true }), { plans: [], count: 0 });
const shown = await getDocument(ada.supabase, waiting.plans[0]);
assert.equal(new TextDecoder("utf-8", { ignoreBOM: true }).decode(shown.bytes), first);
assert.deepEqual([shown.sha256, shown.verified], [sha256(first), true]);
const altered = { ...waiting.plans[0], document_sha256: sha256(second) };
assert.equal((await getDocument(ada.supabase, altered)).verified, false);
await refused(getDocument(stranger.supabase, waiting.plans[0]), "document_not_found");
await refused(requestChanges(ada.supabase, of(1, { comment: " \n" })), "invalid_comment");
const text = decodeDocument(shown.bytes);
const at = text.indexOf("計画");
const comments = [
  commentOn(text, { start: at, end: at + 2 }, "Which plan?"),
  commentOn(text, { start: 0, end: text.length }, '*All* "of" it\\ 🚀'),
];
await refused(requestChanges(ada.supabase, of(1, { comments: [] })), "invalid_comment");
for (const wrong of [
  { ...comments[1], start: 1 },
  { ...comments[1], body: " " },
]) {
  const refusal = await refused(
    requestChanges(ada.supabase, of(1, { comments: [comments[0], wrong] })),
    "invalid_comments",
  );
  assert.match(refusal.details, /1/);
}
await refused(requestChanges(stranger.supabase, of(1, { comments })), "plan_not_found");
const said = { comment: "Name the van.\nAnd the driver.", comments };
const sentBack = await requestChanges(ada.supabase, of(1, said));
assert.equal(sentBack.status, "changes_requested");
const answer = await decision.until((found) => found?.status === "changes_requested");
decision.stop();
assert.equal(answer.comment, "Name the van.\nAnd the driver.");
assert.deepEqual(answer.comments, comments);
assert.deepEqual(locateComment(text, answer.comments[0]), { start: at, end: at + 2 });
assert.equal(locateComment(second, answer.comments[1])?.end, text.length);
assert.match(
  feedback(answer, text),
  /^On the whole plan:\n\n```text\nName the van.\nAnd the driver.\n```\n\n1. On line 3:\n\n```text\n計画\n/,
);

// The planner comes with a changed one. The human approves what was shown, and nothing else.
const returned = await refused(proposePlan(planner, plan(2, first)), "plan_decided");
assert.match(returned.details, /Name the van/);
await refused(proposePlan(planner, { ...plan(2, second), message: " \n" }), "invalid_message");
const message = "It says now what has changed. 🚐";
await proposePlan(planner, { ...plan(2, second), message, expiresAt: new Date(Date.now() + 3_600_000) });
assert.equal((await getPlan(ada.supabase, of(2))).message, message);
await refused(approvePlan(ada.supabase, of(2, { content: first })), "plan_conflict");
await refused(
  approvePlan(ada.supabase, of(2, { content: first, sha256: sha256(second) })),
  "document_changed",
);
const note = { comment: "The blue one.", comments: [commentOn(second, { start: at, end: at + 2 }, "Good.")] };
const approval = await approvePlan(
  ada.supabase,
  of(2, { content: new TextEncoder().encode(second), ...note }),
);
assert.deepEqual([approval.created, approval.agent_status], [true, "building"]);
assert.deepEqual(await approvePlan(ada.supabase, of(2, { content: second })), {
  ...approval,
  created: false,
});
// A note goes with the approval, and a replay does not replace it.
await approvePlan(ada.supabase, of(2, { content: second, comment: "The red one." }));
const noted = await getPlan(ada.supabase, of(2));
assert.deepEqual([noted.comment, noted.comments], [note.comment, note.comments]);
await refused(rejectPlan(ada.supabase, of(2)), "plan_decided");
await refused(withdrawPlan(planner, of(2)), "plan_decided");
assert.equal((await listProposals(ada.supabase)).count, 0);
assert.equal(
  (await listProposals(ada.supabase, { status: ["approved", "changes_requested"], limit: 1 })).count,
  2,
);

// It is built.
const building = await getAgent(ada.supabase, approval.agent_id);
assert.deepEqual(
  [
    building.status,
    building.plan.version,
    building.build.status,
    building.plans.map(({ version }) => version),
  ],
  ["building", 2, "queued", [2, 1]],
);
assert.deepEqual(
  building.events.map(({ kind }) => kind),
  ["approved"],
);
assert.equal(await getAgent(stranger.supabase, approval.agent_id), null);
assert.equal(await getAgent(ada.supabase, "not-a-uuid"), null);
await refused(pauseAgent(ada.supabase, "not-a-uuid"), "invalid_request");
await refused(pauseAgent(stranger.supabase, approval.agent_id), "agent_not_found");
const agent = sightings((tell) => watchAgent(ada.supabase, approval.agent_id, tell));
await agent.until((found) => found?.build.status === "queued");
console.log(`build ${approval.agent_id}`); // the test does; it can claim this build and no other
const built = await agent.until((found) => found?.status === "active");
assert.equal(built.build.status, "succeeded");
agent.stop();

// What became of it, and what its builder wrote.
assert.deepEqual(built.build.result, { url: "https://example.com/bakery", pages: 2 });
assert.deepEqual(shownResult(built.build), { url: "https://example.com/bakery", summary: null });
assert.deepEqual(shownResult(building.build), { url: null, summary: null });
const log = await getBuildLog(ada.supabase, built.build.id);
assert.deepEqual([log.attempt, log.content], [1, "\u001b[32mBaked\u001b[0m 🥐\n"]);
assert.deepEqual(await getBuildLog(planner, built.build.id, 1), log);
assert.deepEqual(building.build.logs, []);
assert.deepEqual(built.build.logs, [{ attempt: 1, updated_at: log.updated_at }]);
assert.deepEqual(await listBuilds(ada.supabase, approval.agent_id), [built.build]);
assert.deepEqual(await listBuilds(stranger.supabase, approval.agent_id), []);
assert.equal(await getBuildLog(ada.supabase, built.build.id, 2), null);
assert.equal(await getBuildLog(stranger.supabase, built.build.id), null);
assert.equal(await getBuildLog(ada.supabase, "not-a-uuid"), null);
await refused(stopBuild(ada.supabase, approval.agent_id), "illegal_transition");

// Its life after that.
assert.equal((await pauseAgent(ada.supabase, approval.agent_id)).status, "paused");
await refused(resumeAgent(planner, approval.agent_id), "human_required");
assert.equal((await resumeAgent(ada.supabase, approval.agent_id)).status, "active");
await refused(retryBuild(ada.supabase, approval.agent_id), "illegal_transition");
await deleteAgent(ada.supabase, approval.agent_id);
assert.equal(await getAgent(ada.supabase, approval.agent_id), null);
assert.deepEqual(
  (await deletedAgents(ada.supabase)).map(({ id }) => id),
  [approval.agent_id],
);
assert.deepEqual(await deletedAgents(stranger.supabase), []);
await refused(approvePlan(ada.supabase, of(2, { content: second })), "agent_deleted");
await restoreAgent(ada.supabase, approval.agent_id);
const restored = await getPlanningSession(ada.supabase, sessionId);
assert.equal(restored.agent.id, approval.agent_id);
assert.equal(restored.approved.id, restored.agent.plan_id);
assert.deepEqual(
  restored.plans.map(({ version }) => version),
  [2, 1],
);
// What a third version is compared with, and what the second one was.
const before = async (version, user = ada) =>
  (await getPreviousDecision(user.supabase, { user_id: ada.id, session_id: sessionId, version }))?.version;
assert.deepEqual([await before(3), await before(2), await before(1)], [2, 1, undefined]);
assert.equal(await before(3, stranger), undefined);

// A plan that is rejected, and one that its planner takes back.
await proposePlan(planner, plan(3, `${second}3`));
const rejected = await rejectPlan(ada.supabase, of(3, { comments }));
assert.deepEqual([rejected.status, rejected.comment, rejected.comments.length], ["rejected", null, 2]);
await proposePlan(planner, plan(4, `${second}4`));
await refused(withdrawPlan(planner, of(5)), "plan_not_found");
assert.equal((await withdrawPlan(planner, of(4))).status, "withdrawn");
assert.equal(await before(5), 3);
await refused(approvePlan(ada.supabase, of(4, { content: `${second}4` })), "plan_decided");

// The user's own plan, without a planner, of each size that storage treats in its own way; replays send no document.
const requests = [];
const counting = (input, init) => {
  const { pathname } = new URL(input);
  if (pathname.startsWith("/storage/v1/object/"))
    requests.push(pathname.includes("/sign/") ? "sign" : init.method === "GET" ? "compare" : "upload");
  return fetch(input, init);
};
const grace = await signUp({ global: { fetch: counting } });
for (const size of [16_000, 200_000, 1024 * 1024]) {
  const own = { sessionId: `own-${size}`, version: 1, title: `Own ${size}`, content: "x".repeat(size) };
  assert.equal((await approvePlan(grace.supabase, own)).created, true);
  requests.length = 0;
  const replays = await Promise.all(Array.from({ length: 10 }, () => approvePlan(grace.supabase, own)));
  assert.ok(replays.every(({ created }) => !created));
  if (size > 100_000) assert.deepEqual(new Set(requests), new Set(["sign", "compare"]));
}
// Fifty first approvals of one large document at once upload it once, and their requests all find an answer.
requests.length = 0;
const together = { sessionId: "together", version: 1, title: "Together", content: "y".repeat(300_000) };
const answers = await Promise.all(Array.from({ length: 50 }, () => approvePlan(grace.supabase, together)));
assert.equal(new Set(answers.map(({ agent_id }) => agent_id)).size, 1);
assert.equal(answers.filter(({ created }) => created).length, 1);
assert.equal(requests.filter((kind) => kind === "upload").length, 1);
await deleteAgent(grace.supabase, answers[0].agent_id);

const page = await listAgents(grace.supabase, { pageSize: 2 });
assert.deepEqual([page.agents.map(({ name }) => name), page.more], [["Own 1048576", "Own 200000"], true]);
assert.equal(page.agents[0].build.status, "queued");
const rest = await listAgents(grace.supabase, { status: "building", page: 2, pageSize: 2 });
assert.deepEqual([rest.agents.map(({ plan }) => plan.title), rest.more], [["Own 16000"], false]);
assert.equal((await archiveAgent(grace.supabase, rest.agents[0].id)).status, "archived");
assert.equal((await getAgent(grace.supabase, rest.agents[0].id)).build.status, "cancelled");

// A clean-up takes the document between upload and approval: it is uploaded again.
let cleanUps = 0;
const cleaned = async (input, init) => {
  if (new URL(input).pathname.endsWith("/approve_plan") && cleanUps++ === 0) {
    const { document_sha256, session_id } = JSON.parse(init.body);
    const { data } = await admin.storage
      .from("plans")
      .remove([`${joan.id}/${session_id}/${document_sha256}.md`]);
    assert.equal(data.length, 1);
  }
  return fetch(input, init);
};
const joan = await signUp({ global: { fetch: cleaned } });
const lost = { sessionId: "lost", version: 1, title: "Lost", content: "# Lost and found\n" };
assert.equal((await approvePlan(joan.supabase, lost)).created, true);
assert.equal(cleanUps, 2);

// A build is stopped by its owner only, and can be started again.
const { agent_id: stopped } = await approvePlan(joan.supabase, { ...lost, sessionId: "stopped" });
await refused(stopBuild(stranger.supabase, stopped), "agent_not_found");
const asJoan = connect(undefined, { accessToken: () => Promise.resolve(asClient(joan.token)) });
await refused(stopBuild(asJoan, stopped), "human_required");
assert.equal((await getAgent(joan.supabase, stopped)).status, "building");
const stop = await stopBuild(joan.supabase, stopped);
assert.equal(stop.status, "failed");
assert.deepEqual(await stopBuild(joan.supabase, stopped), stop);
const { build: ended } = await getAgent(joan.supabase, stopped);
assert.deepEqual([ended.status, ended.message], ["cancelled", "Stopped by the owner."]);
assert.equal(await getBuildLog(joan.supabase, ended.id), null);
assert.equal((await retryBuild(joan.supabase, stopped)).status, "building");
const builds = await listBuilds(joan.supabase, stopped);
assert.deepEqual(
  builds.map(({ status }) => status),
  ["queued", "cancelled"],
);
assert.deepEqual(await listBuilds(joan.supabase, stopped, { limit: 1 }), builds.slice(0, 1));
assert.equal((await stopBuild(admin, stopped)).status, "failed");
assert.equal((await getAgent(joan.supabase, stopped)).build.message, "Stopped by the service.");

// A service proposes for its user.
const offered = await proposePlan(admin, { ...lost, version: 2, content: "# Offered\n", userId: joan.id });
assert.equal((await getPlan(joan.supabase, { sessionId: "lost", version: 2 })).id, offered.plan_id);
assert.equal(
  (await withdrawPlan(admin, { sessionId: "lost", version: 2, userId: joan.id })).status,
  "withdrawn",
);

// A token that is over is not retried, and says so.
const expired = connect(undefined, { accessToken: () => Promise.resolve("not.a.token") });
await refused(pauseAgent(expired, approval.agent_id), "not_authenticated");
await refused(pauseAgent(connect(), approval.agent_id), "not_authenticated");

console.log("the story is told");
process.exit(0);
