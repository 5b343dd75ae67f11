// The package without a Supabase: supabase-js as it is, on a fetch that answers as a hosted project was seen to answer.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, mock, suite, test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import * as greenlight from "greenlight-client";

const {
  approvePlan,
  commentOn,
  feedback,
  getDocument,
  locateComment,
  pauseAgent,
  proposePlan,
  rejectPlan,
  requestChanges,
  shownResult,
  waitForDecision,
  watch,
  watchAgent,
  watchShown,
} = greenlight;

// From test_package.py: the tables that the tests of the database and the service have, and the seed.
const titles = JSON.parse(process.env.TITLES);
const feedbackTable = JSON.parse(process.env.FEEDBACK);
const SEED = Number(process.env.SEED);
const { fromMarkdown } = await import(process.env.MARKDOWN_PARSER);

const SUPABASE = "http://supabase.test";
const USER = "0ad4a5f0-3bbd-4b4d-9d4e-0a0a0a0a0a0a";
const AGENT = "6e1a8f2e-0000-4000-8000-000000000001";
const hashOf = (/** @type {string | Uint8Array} */ bytes) =>
  createHash("sha256").update(bytes).digest("hex");

const json = (status, body) => () => Response.json(body, { status });
const NO_DOCUMENT = json(400, {
  statusCode: "404",
  error: "not_found",
  message: "Object not found",
  code: "NoSuchKey",
});
const DUPLICATE = json(400, {
  statusCode: "409",
  error: "Duplicate",
  message: "The resource already exists",
  code: "KeyAlreadyExists",
});
const UPLOADED = json(200, { Key: "plans/x", Id: AGENT });
const SIGNED = json(200, { signedURL: "/object/sign/plans/x?token=t" });
const APPROVED = json(200, {
  plan_id: AGENT,
  agent_id: AGENT,
  agent_status: "building",
  version: 1,
  created: true,
});
const NOT_IN_STORAGE = json(404, {
  code: "PT404",
  message: "document_not_found",
  details: "There is none.",
  hint: null,
});

/**
 * A client whose requests are answered from lists, by what they ask for. The last answer of a list stays.
 *
 * @param {Record<string, (() => Response | Promise<Response>)[]>} answers
 */
function fake(answers) {
  const asked = [];
  const bodies = {};
  const fetch = async (input, init) => {
    const path = new URL(input).pathname;
    const kind = path.startsWith("/storage/v1/object/sign/")
      ? "sign"
      : path.startsWith("/storage/v1/object/")
        ? ({ POST: "upload", DELETE: "remove" }[init.method] ?? "download")
        : "rpc";
    asked.push(kind);
    bodies[kind] = init.body;
    const list = answers[kind];
    assert.ok(list, `unexpected ${init.method} ${path}`);
    return (list.length > 1 ? list.shift() : list[0])();
  };
  const supabase = createClient(SUPABASE, "sb_publishable_x", {
    global: { fetch },
    auth: { persistSession: false, autoRefreshToken: false },
  });
  return { supabase, asked, bodies };
}

const plan = (content = "# Plan\n") => ({
  sessionId: "s",
  version: 1,
  title: "Plan",
  content,
  userId: USER,
});
const failsWith =
  (code, more = {}) =>
  (error) => {
    assert.ok(error instanceof greenlight.GreenlightError, String(error));
    assert.deepEqual(
      { code: error.code, ...more },
      {
        code,
        ...Object.fromEntries(
          Object.keys(more).map((key) => [key, error[key]]),
        ),
      },
    );
    return true;
  };

// Enough for everything that is waiting to go on.
const settle = () => new Promise((resolve) => void setImmediate(resolve));

test("a page behind the last one is empty, and tells how many plans there are", async () => {
  // PostgREST 14 answers 416 to it.
  const asked = [];
  const fetch = (input) => {
    const { searchParams } = new URL(input);
    asked.push(
      ["offset", "limit", "expires_at", "or"].map((name) =>
        searchParams.get(name),
      ),
    );
    if (searchParams.get("offset") !== "0")
      return Promise.resolve(
        Response.json(
          { code: "PGRST103", message: "Requested range not satisfiable" },
          { status: 416 },
        ),
      );
    const headers = { "content-range": "0-0/41" };
    return Promise.resolve(
      Response.json([{ id: AGENT }], { status: 206, headers }),
    );
  };
  const supabase = createClient(SUPABASE, "sb_publishable_x", {
    global: { fetch },
  });

  const listed = await greenlight.listProposals(supabase, {
    expired: true,
    page: 4,
    limit: 20,
  });

  assert.deepEqual(listed, { plans: [], count: 41 });
  assert.deepEqual(asked, [
    ["60", "20", "lte.now", null],
    ["0", "1", "lte.now", null],
  ]);
  await greenlight.listProposals(supabase, { expired: false });
  assert.deepEqual(asked.at(-1), [
    "0",
    "50",
    null,
    "(expires_at.is.null,expires_at.gt.now)",
  ]);
});

test("a list names whose rows it is of, and tells on which the reader may decide", async () => {
  const [team, other] = [
    "11111111-0000-4000-8000-000000000001",
    "11111111-0000-4000-8000-000000000002",
  ];
  let teams = [];
  const asked = [];
  const plan = (user_id, team_id) => ({ id: AGENT, user_id, team_id, build: [] });
  const plans = [
    plan(USER, null),
    plan(USER, team),
    plan(AGENT, team),
    plan(AGENT, other),
  ];
  const fetch = (input) => {
    const { pathname, searchParams } = new URL(input);
    if (pathname.endsWith("/rpc/plan_teams"))
      return Promise.resolve(Response.json(teams));
    asked.push(
      ["user_id", "team_id", "or"].map((name) => searchParams.get(name)),
    );
    return Promise.resolve(
      Response.json(plans, { headers: { "content-range": "0-3/4" } }),
    );
  };
  const supabase = createClient(SUPABASE, "sb_publishable_x", {
    global: { fetch },
  });
  const decides = async (options) =>
    (await greenlight.listProposals(supabase, options)).plans.map(
      ({ may_decide }) => may_decide,
    );

  assert.deepEqual(await decides(), [false, false, false, false]);
  assert.deepEqual(
    asked.at(-1),
    [null, null, null],
    "without a session: such as the service role",
  );
  supabase.auth.getClaims = () =>
    Promise.resolve({ data: { claims: { sub: USER } }, error: null });
  assert.deepEqual(await decides(), [true, false, false, false]);
  assert.deepEqual(asked.at(-1), [`eq.${USER}`, null, null]);
  teams = [
    { team_id: team, may_decide: true, may_decide_own: false },
    { team_id: other, may_decide: false, may_decide_own: false },
  ];
  assert.deepEqual(await decides(), [true, false, true, false]);
  assert.deepEqual(asked.at(-1), [
    null,
    null,
    `(user_id.eq.${USER},team_id.in.(${team},${other}))`,
  ]);
  assert.deepEqual(await decides({ teamId: team }), [true, false, true, false]);
  assert.deepEqual(asked.at(-1), [null, `eq.${team}`, null]);
  teams[0].may_decide_own = true;
  assert.deepEqual(await decides({ userId: USER }), [true, true, true, false]);
  assert.deepEqual(asked.at(-1), [`eq.${USER}`, null, null]);
  await greenlight.listAgents(supabase, { teamId: team });
  assert.deepEqual(asked.at(-1), [null, `eq.${team}`, null]);
});

test("of two sessions of one name the reader's own is returned, or the one that they name", async () => {
  const rows = [{ user_id: AGENT }, { user_id: USER }];
  const fetch = (input) => {
    const owner = new URL(input).searchParams.get("user_id")?.slice(3);
    return Promise.resolve(
      Response.json(rows.filter((row) => !owner || row.user_id === owner)),
    );
  };
  const supabase = createClient(SUPABASE, "sb_publishable_x", {
    global: { fetch },
  });
  supabase.auth.getClaims = () =>
    Promise.resolve({ data: { claims: { sub: USER } }, error: null });
  const plan = { sessionId: "s", version: 1 };

  assert.equal((await greenlight.getPlan(supabase, plan)).user_id, USER);
  assert.equal(
    (await greenlight.getPlan(supabase, { ...plan, userId: AGENT })).user_id,
    AGENT,
  );
  rows.pop();
  assert.equal((await greenlight.getPlan(supabase, plan)).user_id, AGENT);
});

test("an approver names the owner of a plan, and a planner its team", async () => {
  const sent = [];
  const fetch = async (input, init) => {
    const { pathname } = new URL(input);
    if (!pathname.includes("/rpc/"))
      return (pathname.includes("/sign/") ? SIGNED : UPLOADED)();
    sent.push([pathname.split("/").at(-1), JSON.parse(String(init?.body))]);
    return APPROVED();
  };
  const supabase = createClient(SUPABASE, "sb_publishable_x", {
    global: { fetch },
  });
  const named = { sessionId: "s", version: 1, userId: USER };

  await approvePlan(supabase, { ...named, content: "#" });
  await requestChanges(supabase, { ...named, comment: "No." });
  await rejectPlan(supabase, named);
  await proposePlan(supabase, {
    ...named,
    title: "Plan",
    content: "#",
    teamId: AGENT,
  });
  assert.deepEqual(
    sent.map(([name, { user_id, team_id }]) => [name, user_id, team_id]),
    [
      ["approve_plan", USER, undefined],
      ["request_changes", USER, undefined],
      ["reject_plan", USER, undefined],
      ["propose_plan", USER, AGENT],
    ],
  );
});

suite("what the Data API answers", () => {
  const answer = (code, message = "…", details = null, hint = null) => ({
    code,
    message,
    details,
    hint,
  });
  const table = [
    // Of ours: status, body, code, whether the same call may succeed later.
    [
      409,
      answer("PT409", "plan_stale", "Version 3 is the newest."),
      "plan_stale",
      false,
    ],
    [401, answer("PT401", "not_authenticated"), "not_authenticated", false],
    [403, answer("PT403", "human_required"), "human_required", false],
    [413, answer("PT413", "document_too_large"), "document_too_large", false],
    [422, answer("PT422", "invalid_comment"), "invalid_comment", false],
    [404, answer("PT404", "agent_not_found"), "agent_not_found", false],
    // PostgREST's own, 12 and 14.
    [401, answer("PGRST301", "JWT expired"), "not_authenticated", false],
    [
      401,
      answer("PGRST302", "Anonymous access is disabled"),
      "not_authenticated",
      false,
    ],
    [401, answer("PGRST303", "JWT expired"), "not_authenticated", false],
    [
      401,
      answer("42501", "permission denied for function pause"),
      "not_authenticated",
      false,
    ],
    [
      403,
      answer("42501", "permission denied for function pause"),
      "upstream_error",
      false,
    ],
    [
      404,
      answer("PGRST202", "Could not find the function"),
      "upstream_error",
      false,
    ],
    [
      503,
      answer("PGRST000", "Database connection error"),
      "upstream_unavailable",
      true,
    ],
    [
      503,
      answer("PGRST001", "Database client error"),
      "upstream_unavailable",
      true,
    ],
    [
      503,
      answer(
        "PGRST002",
        "Could not query the database for the schema cache. Retrying.",
      ),
      "upstream_unavailable",
      true,
    ],
    [
      504,
      answer(
        "PGRST003",
        "Timed out acquiring connection from connection pool.",
      ),
      "upstream_unavailable",
      true,
    ],
    // Postgres', passed on.
    [
      503,
      answer("57P01", "terminating connection due to administrator command"),
      "upstream_unavailable",
      true,
    ],
    [
      503,
      answer("57P03", "the database system is starting up"),
      "upstream_unavailable",
      true,
    ],
    [
      503,
      answer("53300", "sorry, too many clients already"),
      "upstream_unavailable",
      true,
    ],
    [503, answer("08006", "connection failure"), "upstream_unavailable", true],
    ...["57P01", "57P02", "57P03", "53300", "08003"].map((code) => [
      500,
      answer(code),
      "upstream_unavailable",
      true,
    ]),
    [
      500,
      answer("57014", "canceling statement due to statement timeout"),
      "upstream_timeout",
      true,
    ],
    [
      400,
      answer("22P02", 'invalid input syntax for type uuid: "x"'),
      "invalid_request",
      false,
    ],
    [500, answer("XX000", "internal error"), "upstream_error", true],
    // Postgres lost while the function ran.
    [400, answer("", "", null, null), "upstream_unavailable", true],
    // A gateway's.
    [401, { message: "Invalid API key" }, "not_authenticated", false],
    [429, { message: "Too many requests" }, "upstream_unavailable", true],
    [502, "<html>Bad gateway</html>", "upstream_unavailable", true],
    [503, { message: "name resolution failed" }, "upstream_unavailable", true],
    [504, "", "upstream_timeout", true],
    [404, "", "upstream_error", true],
    [200, "<html>A portal's login</html>", "upstream_error", true],
  ];
  for (const [status, body, code, retryable] of table)
    test(`${status} ${JSON.stringify(body).slice(0, 60)}: ${code}`, async () => {
      const respond = () =>
        new Response(typeof body === "string" ? body : JSON.stringify(body), {
          status,
        });
      const { supabase } = fake({ rpc: [respond] });
      await assert.rejects(
        pauseAgent(supabase, AGENT),
        failsWith(code, { retryable }),
      );
    });

  test("no answer at all", async () => {
    const { supabase } = fake({
      rpc: [() => Promise.reject(new TypeError("fetch failed"))],
    });
    await assert.rejects(
      pauseAgent(supabase, AGENT),
      failsWith("upstream_unavailable", { retryable: true }),
    );
  });

  test("details and hint come along", async () => {
    const body = answer(
      "PT409",
      "plan_stale",
      "Version 3 is the newest.",
      "Look at it.",
    );
    const { supabase } = fake({ rpc: [json(409, body)] });
    const more = {
      details: "Version 3 is the newest.",
      hint: "Look at it.",
      message: "plan_stale: Version 3 is the newest.",
    };
    await assert.rejects(
      pauseAgent(supabase, AGENT),
      failsWith("plan_stale", more),
    );
  });
});

suite("what storage answers", () => {
  const answer = (statusCode, error, message = "…") => ({
    statusCode,
    error,
    message,
  });
  const table = [
    [400, answer("413", "Payload too large"), "document_too_large", false],
    [400, answer("401", "Unauthorized"), "not_authenticated", false],
    [
      400,
      answer(
        "403",
        "Unauthorized",
        "new row violates row-level security policy",
      ),
      "upstream_error",
      false,
    ],
    [400, answer("415", "invalid_mime_type"), "upstream_error", false],
    // Without its database.
    [400, answer("500", "Internal"), "upstream_unavailable", true],
    [500, answer("500", "Internal"), "upstream_unavailable", true],
    [500, "<html>", "upstream_unavailable", true],
    [544, answer("544", "DatabaseTimeout"), "upstream_unavailable", true],
    [429, answer("429", "too_many_connections"), "upstream_unavailable", true],
    [413, "<html>Request entity too large</html>", "document_too_large", false],
    [502, "<html>Bad gateway</html>", "upstream_unavailable", true],
    [504, "<html>Gateway timeout</html>", "upstream_timeout", true],
  ];
  for (const [status, body, code, retryable] of table)
    test(`${status} ${JSON.stringify(body).slice(0, 60)}: ${code}`, async () => {
      const respond = () =>
        new Response(typeof body === "string" ? body : JSON.stringify(body), {
          status,
        });
      const { supabase } = fake({ upload: [respond] });
      await assert.rejects(
        approvePlan(supabase, plan()),
        failsWith(code, { retryable }),
      );
    });

  test("no answer at all", async () => {
    const { supabase } = fake({
      upload: [() => Promise.reject(new TypeError("fetch failed"))],
    });
    await assert.rejects(
      approvePlan(supabase, plan()),
      failsWith("upstream_unavailable", { retryable: true }),
    );
  });

  test("a download that breaks off", async () => {
    const cut = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("# Pl"));
        controller.error(new TypeError("terminated"));
      },
    });
    const { supabase } = fake({ download: [() => new Response(cut)] });
    const document = { document_path: `${USER}/s/x.md`, document_sha256: "x" };
    await assert.rejects(
      getDocument(supabase, document),
      failsWith("upstream_unavailable", { retryable: true }),
    );
  });
});

test("a document is decoded byte for byte, or not at all", () => {
  const bytes = new TextEncoder().encode("\uFEFFa\r\ne\u0301\r👩‍🚀\n");
  const text = greenlight.decodeDocument(bytes);
  assert.deepEqual(new TextEncoder().encode(text), bytes);
  assert.equal(greenlight.decodeDocument(bytes.buffer), text);
  assert.throws(
    () => greenlight.decodeDocument(Uint8Array.of(0xe9)),
    failsWith("invalid_request"),
  );
});

test("the hash of a text is that of its bytes", async () => {
  for (const content of ["abc", new TextEncoder().encode("abc")])
    assert.equal(await greenlight.sha256(content), hashOf("abc"));
});

test("a document has at most 1 MiB of UTF-8", () => {
  const largest = "é".repeat(greenlight.MAX_DOCUMENT_BYTES / 2);
  assert.equal(greenlight.documentProblem(largest), null);
  assert.equal(
    greenlight.documentProblem(`${largest}x`).code,
    "document_too_large",
  );
});

suite("a stored document", () => {
  const MIB = 1024 * 1024;
  const named = (sha256) => ({
    document_path: `${USER}/s/x.md`,
    document_sha256: sha256,
  });

  test("is read whole, and compared with the plan's hash", async () => {
    const content = "x".repeat(MIB);
    const { supabase } = fake({
      download: [() => new Response(content), () => new Response("y")],
    });
    const { bytes, verified } = await getDocument(
      supabase,
      named(hashOf(content)),
    );
    assert.deepEqual(
      [Buffer.from(bytes).toString() === content, verified],
      [true, true],
    );
    assert.equal(
      (await getDocument(supabase, named(hashOf(content)))).verified,
      false,
    );
  });

  test("that is larger than a document can be is not read to its end", async () => {
    let read = 0;
    let cancelled = false;
    const endless = new ReadableStream(
      {
        pull(controller) {
          controller.enqueue(new Uint8Array(65_536));
          read += 65_536;
        },
        cancel() {
          cancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
    const { supabase } = fake({ download: [() => new Response(endless)] });
    await assert.rejects(
      getDocument(supabase, named("x")),
      failsWith("document_too_large", { retryable: false }),
    );
    assert.ok(cancelled);
    assert.ok(read <= MIB + 2 * 65_536, String(read));
  });
});

suite("a document is refused before anything is sent", () => {
  const nothing = fake({}).supabase;
  const bytes = (...values) => Uint8Array.of(...values);
  const table = [
    ["empty", { content: "" }, "document_too_large"],
    [
      "over 1 MiB",
      { content: "x".repeat(1024 * 1024 + 1) },
      "document_too_large",
    ],
    [
      "over 1 MiB in UTF-8 only",
      { content: "é".repeat(512 * 1024 + 1) },
      "document_too_large",
    ],
    ["NUL", { content: "a\0b" }, "invalid_request"],
    ["NUL in bytes", { content: bytes(97, 0, 98) }, "invalid_request"],
    ["a lone surrogate", { content: "a\uD83D" }, "invalid_request"],
    [
      "bytes that are not UTF-8",
      { content: bytes(0xff, 0xfe) },
      "invalid_request",
    ],
    [
      "a surrogate in bytes",
      { content: bytes(0xed, 0xa0, 0xbd) },
      "invalid_request",
    ],
    ["an empty title", { title: " \n" }, "invalid_title"],
    ["a title that is too long", { title: "🚀".repeat(501) }, "invalid_title"],
    ["a title of two lines", { title: "a\nb" }, "invalid_title"],
    ...titles.invalid.map((title) => [
      `the title ${JSON.stringify(title)}`,
      { title },
      "invalid_title",
    ]),
    ["a lone surrogate in the title", { title: "\uDC00" }, "invalid_request"],
    [
      "another document than was seen",
      { sha256: hashOf("another") },
      "document_changed",
    ],
    ["a session id with a slash", { sessionId: "../x" }, "invalid_session_id"],
    ["a session id with a newline", { sessionId: "x\n" }, "invalid_session_id"],
    ["no session id", { sessionId: "" }, "invalid_session_id"],
    ["version 0", { version: 0 }, "invalid_version"],
    ["version 1.5", { version: 1.5 }, "invalid_version"],
    ["a version beyond integer", { version: 2 ** 31 }, "invalid_version"],
  ];
  for (const [what, change, code] of table)
    test(what, async () => {
      for (const act of [approvePlan, proposePlan])
        await assert.rejects(
          act(nothing, { ...plan(), ...change }),
          failsWith(code, { retryable: false }),
        );
      const problem = "content" in change ? code : undefined;
      assert.equal(
        greenlight.documentProblem(change.content ?? "# Plan\n")?.code,
        problem,
      );
    });

  test("a comment with NUL", async () => {
    const decision = { sessionId: "s", version: 1, comment: "\0" };
    await assert.rejects(
      requestChanges(nothing, decision),
      failsWith("invalid_request"),
    );
  });

  test("a client without a session", async () => {
    const { userId, ...anybody } = plan();
    await assert.rejects(
      approvePlan(nothing, anybody),
      failsWith("not_authenticated"),
    );
  });
});

test("titles in which something can be seen", async () => {
  for (const title of [...titles.valid, "🚀".repeat(500), " trimmed\u3000\n"]) {
    const { supabase, bodies } = fake({
      upload: [UPLOADED],
      sign: [SIGNED],
      rpc: [APPROVED],
    });
    await approvePlan(supabase, { ...plan(), title });
    assert.equal(JSON.parse(bodies.rpc).title, title);
  }
});

suite("how a document is stored", () => {
  const LARGE = "x".repeat(100_001);

  test("a small one is uploaded first", async () => {
    const { supabase, asked, bodies } = fake({
      upload: [UPLOADED],
      sign: [SIGNED],
      rpc: [APPROVED],
    });
    const approval = await approvePlan(supabase, plan("x".repeat(100_000)));
    assert.equal(approval.agent_id, AGENT);
    assert.deepEqual(asked, ["upload", "sign", "rpc"]);
    assert.deepEqual(JSON.parse(bodies.rpc), {
      session_id: "s",
      version: 1,
      title: "Plan",
      document_sha256: hashOf("x".repeat(100_000)),
      document_url: `${SUPABASE}/storage/v1/object/sign/plans/x?token=t`,
    });
  });

  const SMALL = plan().content;
  const stored = (bytes) => () => new Response(bytes);
  const REMOVED = json(200, [{ name: "x" }]);
  const KEPT = json(200, []);
  const REFERENCED = json(400, {
    statusCode: "409",
    error: "ResourceReferenced",
    message: "…",
  });

  test("one that is there already is not an error", async () => {
    const answers = {
      upload: [DUPLICATE],
      download: [stored(SMALL)],
      sign: [SIGNED],
      rpc: [APPROVED],
    };
    const { supabase, asked } = fake(answers);
    await approvePlan(supabase, plan());
    assert.deepEqual(asked, ["upload", "download", "sign", "rpc"]);
  });

  test("a large one that is there is not uploaded", async () => {
    const { supabase, asked } = fake({
      sign: [SIGNED],
      download: [stored(LARGE)],
      rpc: [APPROVED],
    });
    await approvePlan(supabase, plan(LARGE));
    assert.deepEqual(asked, ["sign", "download", "rpc"]);
  });

  for (const [what, content] of [
    ["small", SMALL],
    ["large", LARGE],
  ])
    for (const [which, other] of [
      ["other", "garbage"],
      ["no", ""],
      ["one more", `${content}x`],
      ["one less", content.slice(0, -1)],
      ["other last", `${content.slice(0, -1)}y`],
    ]) {
      test(`${which} bytes in the place of a ${what} one are replaced`, async () => {
        const first =
          what === "small"
            ? { upload: [DUPLICATE, UPLOADED], sign: [SIGNED] }
            : {};
        const { supabase, asked } = fake({
          upload: [UPLOADED],
          sign: [SIGNED, NO_DOCUMENT, SIGNED],
          download: [stored(other)],
          remove: [REMOVED],
          rpc: [APPROVED],
          ...first,
        });
        await approvePlan(supabase, plan(content));
        const before = what === "small" ? ["upload"] : ["sign"];
        const after =
          what === "small" ? ["upload", "sign"] : ["sign", "upload", "sign"];
        assert.deepEqual(asked, [
          ...before,
          "download",
          "remove",
          ...after,
          "rpc",
        ]);
      });

      for (const [why, remove] of [
        ["the client may not remove", KEPT],
        ["a plan refers to", REFERENCED],
      ])
        test(`${which} bytes that ${why} in the place of a ${what} one are a conflict`, async () => {
          const { supabase, asked } = fake({
            upload: [DUPLICATE],
            sign: [SIGNED],
            download: [stored(other)],
            remove: [remove],
          });
          for (const act of [approvePlan, proposePlan])
            await assert.rejects(
              act(supabase, plan(content)),
              failsWith("document_conflict", { retryable: false }),
            );
          assert.ok(!asked.includes("rpc"));
          assert.equal(asked.includes("upload"), what === "small");
        });
    }

  test("what is there is not read beyond the document's own length", async () => {
    let read = 0;
    const endless = () =>
      new Response(
        new ReadableStream(
          {
            pull(controller) {
              controller.enqueue(new TextEncoder().encode(LARGE));
              read += LARGE.length;
            },
          },
          { highWaterMark: 0 },
        ),
      );
    const { supabase } = fake({
      sign: [SIGNED],
      download: [endless],
      remove: [KEPT],
    });
    await assert.rejects(
      approvePlan(supabase, plan(LARGE)),
      failsWith("document_conflict"),
    );
    assert.ok(read <= 4 * LARGE.length, String(read));
  });

  test("a large one that is not there is uploaded", async () => {
    const { supabase, asked } = fake({
      sign: [NO_DOCUMENT, SIGNED],
      upload: [UPLOADED],
      rpc: [APPROVED],
    });
    await approvePlan(supabase, plan(LARGE));
    assert.deepEqual(asked, ["sign", "upload", "sign", "rpc"]);
  });

  test("what was proposed is approved by one call, of the hash of what was shown", async () => {
    const { supabase, asked, bodies } = fake({ rpc: [APPROVED] });
    const { title, userId, ...shown } = plan("\uFEFF# Plan\r\n");
    await approvePlan(supabase, shown);
    assert.deepEqual(asked, ["rpc"]);
    const document_sha256 = hashOf("\uFEFF# Plan\r\n");
    assert.deepEqual(JSON.parse(bodies.rpc), {
      session_id: "s",
      version: 1,
      document_sha256,
    });
  });

  test("bytes are sent as they were given, and stay so when the caller changes the array", async () => {
    const content = new TextEncoder().encode("\uFEFFÅ\r\n");
    const { supabase, bodies } = fake({
      upload: [UPLOADED],
      sign: [SIGNED],
      rpc: [APPROVED],
    });
    const approving = approvePlan(supabase, { ...plan(), content });
    content.fill(120);
    await approving;
    assert.equal(Buffer.from(bodies.upload).toString(), "\uFEFFÅ\r\n");
    assert.equal(JSON.parse(bodies.rpc).document_sha256, hashOf("\uFEFFÅ\r\n"));
  });

  test("calls at the same time share one upload, those of another client and later ones do not", async (t) => {
    const digests = t.mock.method(crypto.subtle, "digest").mock;
    let refuse;
    const refused = new Promise(
      (resolve) => (refuse = () => resolve(json(418, {})())),
    );
    const answers = () => ({
      upload: [() => refused, UPLOADED],
      sign: [SIGNED],
      rpc: [APPROVED],
    });
    const [one, other] = [fake(answers()), fake(answers())];
    const uploads = ({ asked }) =>
      asked.filter((kind) => kind === "upload").length;
    const calls = [one, one, one, other].map(({ supabase }) =>
      approvePlan(supabase, plan()),
    );
    // With its hash, a call goes on to the upload that is under way.
    while (digests.callCount() < calls.length) await settle();
    await Promise.all(digests.calls.map(({ result }) => result));
    await settle();
    refuse();
    for (const call of calls)
      await assert.rejects(call, failsWith("upstream_error"));
    assert.deepEqual([uploads(one), uploads(other)], [1, 1]);
    await approvePlan(one.supabase, plan());
    assert.equal(uploads(one), 2);
  });

  test("a document that a clean-up took is uploaded again", async () => {
    const answers = {
      upload: [UPLOADED],
      sign: [SIGNED],
      rpc: [NOT_IN_STORAGE, APPROVED],
    };
    const { supabase, asked } = fake(answers);
    await approvePlan(supabase, plan());
    assert.deepEqual(asked, ["upload", "sign", "rpc", "upload", "sign", "rpc"]);
  });

  test("a clean-up between upload and signing, too", async () => {
    const { supabase, asked } = fake({
      upload: [UPLOADED],
      sign: [NO_DOCUMENT, SIGNED],
      rpc: [APPROVED],
    });
    await approvePlan(supabase, plan());
    assert.deepEqual(asked, ["upload", "sign", "upload", "sign", "rpc"]);
  });

  test("but not for ever", async () => {
    const { supabase, asked } = fake({
      upload: [UPLOADED],
      sign: [SIGNED],
      rpc: [NOT_IN_STORAGE],
    });
    await assert.rejects(
      approvePlan(supabase, plan()),
      failsWith("upstream_error", { retryable: true }),
    );
    assert.equal(asked.filter((kind) => kind === "upload").length, 3);
  });
});

/** Numbers from 0 to below a limit, the same for each seed: a linear congruential generator. */
function randomFrom(seed) {
  let state = BigInt(seed);
  return (below) => {
    state =
      (state * 6364136223846793005n + 1442695040888963407n) &
      0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(below));
  };
}

suite(`comments on passages, SEED=${SEED}`, () => {
  const PIECES = [
    ..."aé計 \t>#|*`-_<&\\",
    ...["\n", "\r", "\r\n", "\n\n", "\u2028", "\x85", "\x0b"],
    ...[
      "e\u0301",
      "👩‍🚀",
      "🇩🇪",
      "\u{10ffff}",
      "🚀",
      "\u202e",
      "\u2066",
      "\ufeff",
      "\u200d",
    ],
    ...[
      "```",
      "~~~",
      "    ",
      "- ",
      "1. ",
      "> ",
      "# ",
      "---",
      "<!--",
      "<script>",
      "</blockquote>",
      "[a]: b",
    ],
    ...[
      "| a | b |\n|---|---|\n",
      "---\nfront: matter\n---\n",
      "Passage 1:",
      "Comment on passage 1:",
    ],
  ];
  const random = randomFrom(SEED);
  const text = (most) =>
    Array.from(
      { length: 1 + random(most) },
      () => PIECES[random(PIECES.length)],
    ).join("");
  const stands = (document, { start, end, exact }) =>
    Array.from(document).slice(start, end).join("") === exact;

  test("for any document and any selection, the passage is exactly there, and is found again", () => {
    for (let round = 0; round < 2_000; round++) {
      const document = text(30);
      const start = random(document.length);
      const end = start + 1 + random(document.length - start);
      const why = JSON.stringify({ SEED, document, start, end });
      const comment = commentOn(document, { start, end }, "Why?");
      assert.ok(stands(document, comment), why);
      assert.ok(comment.exact.isWellFormed(), why);
      const found = locateComment(document, comment);
      assert.equal(document.slice(found.start, found.end), comment.exact, why);
      // What was selected, and at most the other halves of two pairs of surrogates.
      assert.ok(start - 1 <= found.start && found.start <= start, why);
      assert.ok(end <= found.end && found.end <= end + 1, why);
      assert.deepEqual(commentOn(document, found, "Why?"), comment, why);
    }
  });

  test("in another document it is found only if it stands at the same place", () => {
    let found = 0;
    for (let round = 0; round < 2_000; round++) {
      const [document, other] = [text(4), text(4)];
      const comment = commentOn(
        document,
        { start: random(document.length), end: document.length },
        "Why?",
      );
      const why = JSON.stringify({ SEED, other, comment });
      const place = locateComment(other, comment);
      assert.equal(place !== null, stands(other, comment), why);
      if (place) found++;
    }
    // That both were tried.
    assert.ok(found > 0 && found < 2_000);
  });

  test("positions are counted in code points, with a byte order mark", () => {
    const document = "\ufeff# 👩‍🚀 Plan\r\n";
    const start = document.indexOf("Plan");
    assert.deepEqual(commentOn(document, { start, end: start + 4 }, "Which?"), {
      start: 7,
      end: 11,
      exact: "Plan",
      body: "Which?",
    });
    // Half of an emoji selects all of it.
    const rocket = { start: 0, end: 1, exact: "🚀", body: "!" };
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [0, 2],
    ])
      assert.deepEqual(commentOn("🚀", { start: from, end: to }, "!"), rocket);
    assert.deepEqual(locateComment("🚀", rocket), { start: 0, end: 2 });
    assert.equal(locateComment("🚀", { start: 0, end: 2, exact: "🚀" }), null);
    assert.equal(
      locateComment("🚀", { start: 0, end: 1, exact: "\ud83d" }),
      null,
    );
    assert.equal(locateComment("", rocket), null);
  });

  const emoji = (count) => "👩".repeat(count);
  for (const [what, selection, body] of [
    ["an empty selection", { start: 3, end: 3 }, "x"],
    ["a selection that ends before it starts", { start: 3, end: 2 }, "x"],
    ["one that begins before the text", { start: -1, end: 2 }, "x"],
    ["one that ends beyond it", { start: 8_000, end: 8_003 }, "x"],
    ["one that is no number", { start: NaN, end: 2 }, "x"],
    ["a passage that is too long", { start: 0, end: 8_001 }, "x"],
    ["no words", { start: 0, end: 2 }, ""],
    ["white space", { start: 0, end: 2 }, " \u00a0\n"],
    ["too many words", { start: 0, end: 2 }, emoji(4_001)],
  ])
    test(`${what} makes no comment`, () => {
      assert.throws(
        () => commentOn(emoji(4_001), selection, body),
        failsWith("invalid_comments"),
      );
    });

  test("4,000 emoji are a passage and a comment", () => {
    const { start, end } = commentOn(
      emoji(4_001),
      { start: 2, end: 8_002 },
      emoji(4_000),
    );
    assert.deepEqual([start, end], [1, 4_001]);
  });

  for (const {
    what,
    document,
    comment,
    comments,
    feedback: expected,
  } of feedbackTable)
    test(`feedback: ${what}`, () => {
      assert.equal(feedback({ comment, comments }, document), expected);
    });

  test("whatever is written, it stays in its quotation", () => {
    for (let round = 0; round < 500; round++) {
      const document = text(10);
      const comments = Array.from({ length: 1 + random(3) }, () =>
        commentOn(
          document,
          { start: random(document.length), end: document.length },
          `x${text(10)}`,
        ),
      );
      const comment = `x${text(10)}`;
      const said = feedback({ comment, comments }, document);
      const why = JSON.stringify({ SEED, document, comments, said });
      const { children } = fromMarkdown(said);
      const kinds = children.map(({ type }) => type);
      const each = ["list", "code", "paragraph", "code"];
      assert.deepEqual(
        kinds,
        ["paragraph", "code", ...comments.flatMap(() => each)],
        why,
      );
      const lines = (value) => value.split(/\r\n|\r|\n/);
      assert.deepEqual(
        children
          .filter(({ type }) => type === "code")
          .map(({ value }) => lines(value)),
        [comment, ...comments.flatMap(({ exact, body }) => [exact, body])].map(
          (written) => lines(`${written}\n`).slice(0, -1),
        ),
        why,
      );
    }
  });
});

suite("what goes along with a decision", () => {
  const passage = { start: 2, end: 6, exact: "Plan", body: "Which?" };
  const of = (more = {}) => ({ sessionId: "s", version: 1, ...more });
  const PLAN = json(200, { id: AGENT, status: "rejected" });
  const sent = ({ bodies }) => {
    const { comment, comments, message } = JSON.parse(bodies.rpc);
    return { comment, comments, message };
  };
  const remarks = { comment: "Name it.", comments: [passage] };

  for (const [what, act, plan] of [
    ["a proposal that is approved", approvePlan, { content: "# Plan\n" }],
    [
      "a document that is approved",
      approvePlan,
      { content: "# Plan\n", title: "Plan", userId: USER },
    ],
    ["a request for changes", requestChanges, {}],
    ["a rejection", rejectPlan, {}],
  ])
    test(`${what}: comments, without what a page keeps beside them`, async () => {
      const backend = fake({ upload: [UPLOADED], sign: [SIGNED], rpc: [PLAN] });
      const own = { ...passage, id: 7, draft: true };
      await act(backend.supabase, of({ ...plan, ...remarks, comments: [own] }));
      assert.deepEqual(sent(backend), { ...remarks, message: undefined });
      await act(backend.supabase, of({ ...plan, comments: [passage] }));
      assert.deepEqual(sent(backend), {
        comment: undefined,
        comments: [passage],
        message: undefined,
      });
      await act(backend.supabase, of({ ...plan, comment: "Name it." }));
      assert.deepEqual(sent(backend), {
        comment: "Name it.",
        comments: undefined,
        message: undefined,
      });
    });

  test("a proposal: the planner's message, and none", async () => {
    const backend = fake({ upload: [UPLOADED], sign: [SIGNED], rpc: [PLAN] });
    await proposePlan(backend.supabase, {
      ...plan(),
      message: "The van has a name.",
    });
    assert.equal(sent(backend).message, "The van has a name.");
    await proposePlan(backend.supabase, plan());
    assert.equal(sent(backend).message, undefined);
  });

  test("what cannot be stored is refused before anything is sent", async () => {
    const nothing = fake({}).supabase;
    const refused = failsWith("invalid_request", { retryable: false });
    for (const text of ["\0", "half of a pair: \ud83d"]) {
      for (const said of [
        { comment: text },
        { comments: [passage, { ...passage, exact: text }] },
        { comments: [passage, { ...passage, body: text }] },
      ]) {
        await assert.rejects(
          approvePlan(nothing, { ...plan(), ...said }),
          refused,
        );
        await assert.rejects(
          approvePlan(nothing, of({ content: "# Plan\n", ...said })),
          refused,
        );
        await assert.rejects(requestChanges(nothing, of(said)), refused);
        await assert.rejects(rejectPlan(nothing, of(said)), refused);
      }
      await assert.rejects(
        proposePlan(nothing, { ...plan(), message: text }),
        refused,
      );
    }
  });
});

suite("what a page shows of a result", () => {
  const nothing = { url: null, summary: null };
  for (const [what, result, shown] of [
    ["none", null, nothing],
    ["an empty one", {}, nothing],
    [
      "address and summary",
      { url: "https://a.example/b?c#d", summary: "Done." },
      null,
    ],
    [
      "http, too, in any case",
      { url: "HTTP://127.0.0.1:8000/", summary: " two\nlines " },
      null,
    ],
    [
      "a script",
      { url: "javascript:alert(1)//https://a.example", summary: "Click." },
      { summary: "Click." },
    ],
    ["a script behind a line break", { url: "https\n://a.example" }, {}],
    ["white space before it", { url: " https://a.example" }, {}],
    ["a second line", { url: "https://a.example\njavascript:alert(1)" }, {}],
    ["data", { url: "data:text/html,hello", summary: "" }, {}],
    ["another site's path", { url: "//a.example", summary: " \n" }, {}],
    ["no host", { url: "https://" }, {}],
    [
      "not text",
      { url: ["https://a.example"], summary: { text: "Done." } },
      {},
    ],
    ["numbers", { url: 1, summary: 2 }, {}],
  ])
    test(what, () => {
      assert.deepEqual(
        shownResult({ result }),
        shown ? { ...nothing, ...shown } : result,
      );
    });
});

suite("waiting for a decision", () => {
  const version = { sessionId: "s", version: 1, userId: USER };
  const row = (status, more = {}) => ({
    user_id: USER,
    version: 1,
    status,
    comment: null,
    comments: null,
    expires_at: null,
    document_path: "p",
    document_sha256: hashOf("# Plan\n"),
    ...more,
  });
  /** A client whose tables answer this, one after the other; the last answer stays. */
  const answering = (...answers) => {
    const asked = [];
    const fetch = async (input) => {
      const { pathname, searchParams } = new URL(input);
      asked.push(
        `${pathname.split("/").at(-1)} ${searchParams.get("user_id") ?? "of anyone"}`,
      );
      if (pathname.startsWith("/storage/")) return new Response("# Plan\n");
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      return typeof answer === "number"
        ? new Response("", { status: answer })
        : Response.json(answer);
    };
    return {
      asked,
      supabase: createClient(SUPABASE, "sb_publishable_x", {
        global: { fetch },
      }),
    };
  };

  test("only an approval has an agent", async () => {
    const passage = { start: 2, end: 6, exact: "Plan", body: "Approved!" };
    const agent = { id: AGENT, status: "building" };
    const past = "2020-01-01T00:00:00Z";
    const cases = [
      [
        [row("approved"), agent],
        {
          status: "approved",
          agentId: AGENT,
          agentStatus: "building",
          feedback: null,
        },
      ],
      [
        [row("archived"), { ...agent, status: "archived" }],
        {
          status: "approved",
          agentId: AGENT,
          agentStatus: "archived",
          feedback: null,
        },
      ],
      [
        [row("changes_requested", { comments: [passage] })],
        {
          status: "changes_requested",
          feedback:
            "1. On line 1:\n\n```text\nPlan\n```\n\nthe human writes:\n\n```text\nApproved!\n```",
        },
      ],
      [
        [row("rejected", { comment: "No." })],
        {
          status: "rejected",
          feedback: "On the whole plan:\n\n```text\nNo.\n```",
        },
      ],
      [[row("withdrawn")], { status: "withdrawn" }],
      [
        [row("superseded"), row("approved", { version: 4 })],
        { status: "superseded", newestVersion: 4 },
      ],
      [
        [row("proposed", { expires_at: past })],
        { status: "expired", expiresAt: new Date(past) },
      ],
    ];
    for (const [answers, expected] of cases) {
      const { plan: found, ...decision } = await waitForDecision(
        answering(...answers.map((each) => [each])).supabase,
        version,
      );
      assert.equal(found.version, 1);
      assert.deepEqual(decision, expected);
    }
  });

  test("it looks at the plans of one user", async () => {
    const { supabase, asked } = answering([row("superseded")]);
    await waitForDecision(supabase, version);
    assert.deepEqual(asked, [`plan eq.${USER}`, `plan eq.${USER}`]);
  });

  test("it looks no more often than asked, less often while calls fail, and stops when told", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const { supabase, asked } = answering(
        [row("proposed")],
        502,
        502,
        [row("proposed")],
        [row("withdrawn")],
      );
      const decision = waitForDecision(supabase, {
        ...version,
        intervalMs: 100,
      });
      const looks = [];
      for (let ms = 0; ms <= 1000; ms += 50) {
        for (let turn = 0; turn < 20; turn++) await settle();
        looks.push(asked.length);
        mock.timers.tick(50);
      }
      // At 0, 100, 300, 700, 800.
      assert.deepEqual(
        looks
          .map((n, index) => n !== looks[index - 1] && index * 50)
          .filter((at) => at !== false),
        [0, 100, 300, 700, 800],
      );
      assert.equal((await decision).status, "withdrawn");

      const stopping = new AbortController();
      const stopped = waitForDecision(answering([row("proposed")]).supabase, {
        ...version,
        signal: stopping.signal,
      });
      for (let turn = 0; turn < 20; turn++) await settle();
      stopping.abort(new Error("enough"));
      await assert.rejects(stopped, /enough/);
    } finally {
      mock.timers.reset();
    }
  });

  test("what cannot be repeated ends it", async () => {
    // A client without a session has to name the user.
    const nameless = { ...version, userId: undefined };
    await assert.rejects(waitForDecision(answering([]).supabase, nameless), failsWith("not_authenticated"));
    await assert.rejects(waitForDecision(answering([]).supabase, version), failsWith("plan_not_found"));
    await assert.rejects(waitForDecision(answering(401).supabase, version), failsWith("not_authenticated"));
    await assert.rejects(
      waitForDecision(answering([]).supabase, { ...version, version: 0 }),
      failsWith("invalid_version"),
    );
  });
});

suite("watching", () => {
  const tick = async (milliseconds) => {
    mock.timers.tick(milliseconds);
    await settle();
  };
  beforeEach(() => {
    mock.timers.reset();
    mock.timers.enable({ apis: ["setTimeout"] });
    delete globalThis.document;
  });

  /** A value that changes, and how often it was asked for. */
  function source(...values) {
    let loads = 0;
    const load = () => {
      const value = values[Math.min(loads++, values.length - 1)];
      return value instanceof Error
        ? Promise.reject(value)
        : Promise.resolve(value);
    };
    return { load, loads: () => loads };
  }

  test("tells of the first value and of each change", async () => {
    const seen = [];
    const { load, loads } = source({ n: 1 }, { n: 1 }, { n: 2 });
    const stop = watch(load, ({ n }) => seen.push(n), {
      intervalMs: () => 100,
    });
    await settle();
    assert.deepEqual([seen, loads()], [[1], 1]);
    await tick(99);
    assert.equal(loads(), 1);
    await tick(1);
    assert.deepEqual([seen, loads()], [[1], 2]);
    await tick(100);
    assert.deepEqual([seen, loads()], [[1, 2], 3]);
    stop();
    await tick(1000);
    assert.equal(loads(), 3);
  });

  test("what is known already is not told, and looked at again after its interval", async () => {
    const seen = [];
    const { load, loads } = source({ n: 1 }, { n: 2 });
    const stop = watch(load, ({ n }) => seen.push(n), {
      intervalMs: () => 100,
      initial: { n: 1 },
    });
    await tick(99);
    assert.equal(loads(), 0);
    await tick(1);
    assert.deepEqual([seen, loads()], [[], 1]);
    await tick(100);
    assert.deepEqual(seen, [2]);
    stop();
  });

  test("the value says how long to wait", async () => {
    const { load, loads } = source({ every: 10 }, { every: 500 });
    const stop = watch(load, () => {}, { intervalMs: ({ every }) => every });
    await settle();
    await tick(10);
    assert.equal(loads(), 2);
    await tick(499);
    assert.equal(loads(), 2);
    await tick(1);
    assert.equal(loads(), 3);
    stop();
  });

  test("failures are told, slow it down and do not end it", async () => {
    const seen = [],
      errors = [];
    const { load, loads } = source(
      1,
      new Error("first"),
      new Error("second"),
      2,
      new Error("third"),
      3,
    );
    const stop = watch(load, (value) => seen.push(value), {
      intervalMs: () => 100,
      onError: ({ message }) => errors.push(message),
    });
    await settle();
    await tick(100);
    assert.deepEqual([seen, errors], [[1], ["first"]]);
    await tick(3_999);
    assert.equal(loads(), 2);
    await tick(1);
    assert.deepEqual(errors, ["first", "second"]);
    await tick(8_000);
    assert.deepEqual(seen, [1, 2]);
    await tick(100);
    assert.deepEqual(errors, ["first", "second", "third"]);
    await tick(4_000);
    assert.deepEqual(seen, [1, 2, 3]);
    stop();
  });

  test("a signal stops it, also one that was aborted before", async () => {
    const controller = new AbortController();
    const { load, loads } = source(1);
    watch(load, () => {}, { intervalMs: () => 100, signal: controller.signal });
    await settle();
    controller.abort();
    await tick(1000);
    assert.equal(loads(), 1);
    watch(load, () => {}, { intervalMs: () => 100, signal: controller.signal });
    await tick(1000);
    assert.equal(loads(), 1);
  });

  test("an answer that comes after the end is not told", async () => {
    const seen = [];
    let arrive;
    const stop = watch(
      () => new Promise((resolve) => (arrive = resolve)),
      (value) => seen.push(value),
      { intervalMs: () => 1 },
    );
    stop();
    arrive(1);
    await settle();
    assert.deepEqual(seen, []);
  });

  test("a hidden tab waits, and one that is shown looks at once", async () => {
    const page = Object.assign(new EventTarget(), {
      visibilityState: "visible",
    });
    globalThis.document = page;
    const turn = (state) => {
      page.visibilityState = state;
      page.dispatchEvent(new Event("visibilitychange"));
    };
    const { load, loads } = source(1);
    const stop = watch(load, () => {}, { intervalMs: () => 100 });
    await settle();
    turn("hidden");
    await tick(1000);
    assert.equal(loads(), 1);
    turn("visible");
    await settle();
    assert.equal(loads(), 2);
    await tick(100);
    assert.equal(loads(), 3);
    stop();
    turn("visible");
    await settle();
    assert.equal(loads(), 3);
  });

  const quiet = async () => {
    for (let turn = 0; turn < 20; turn++) await settle();
  };

  /** A client to which the database says what changed last, and the questions that it was asked. */
  function database() {
    const asked = [];
    const state = { agents: {}, status: 200 };
    const { supabase, bodies } = fake({
      rpc: [
        () => {
          asked.push(JSON.parse(bodies.rpc));
          const { agents, status } = state;
          return Response.json(status === 200 ? { agents } : {}, { status });
        },
      ],
    });
    return { supabase, asked, state };
  }

  /** When there were more of them than before, in seconds from now. */
  async function timesOf(list, seconds) {
    const times = [];
    for (let at = 0; at <= seconds; at++) {
      const before = list.length;
      if (at > 0) mock.timers.tick(1_000);
      await quiet();
      if (list.length > before) times.push(at);
    }
    return times;
  }

  test("what is shown is loaded only when it has changed, and looks become rarer", async () => {
    const { supabase, asked, state } = database();
    state.agents[AGENT] = ["at first"];
    const seen = [];
    const { load, loads } = source(2);
    const stop = watchShown(supabase, load, (n) => seen.push(n), {
      initial: 1,
      shown: () => ({ agentIds: [AGENT.toUpperCase()] }),
      marks: () => [["at first"]],
    });
    assert.deepEqual(await timesOf(asked, 59), [2, 10, 20, 30, 40, 50]);
    assert.deepEqual([seen, loads()], [[], 0]);

    state.agents[AGENT] = ["later"];
    assert.deepEqual(await timesOf(asked, 30), [1, 3, 7, 15, 25]);
    assert.deepEqual([seen, loads()], [[2], 1]);

    // Deleted, and then another value that looks the same.
    delete state.agents[AGENT];
    await timesOf(asked, 10);
    assert.deepEqual([seen, loads()], [[2], 2]);
    stop();
    assert.deepEqual(await timesOf(asked, 60), []);
  });

  test("all that is shown with a client shares one question", async () => {
    const { supabase, asked, state } = database();
    state.agents[AGENT] = ["a"];
    const seen = [];
    const other = "6e1a8f2e-0000-4000-8000-000000000002";
    const agent = (id) => [
      () => Promise.resolve(id),
      (id) => seen.push(id),
      { shown: () => ({ agentIds: [id] }) },
    ];
    const load = () => Promise.resolve(supabase);
    const stops = [AGENT, other, AGENT].map((id) =>
      watchShown(load, ...agent(id)),
    );
    const session = { sessionId: "s", userId: USER };
    const answers = [];
    stops.push(
      watchShown(
        load,
        async ({ lists = {} }) => (lists.waiting ?? [0])[0],
        (count) => answers.push(count),
        { shown: () => ({ session, waiting: true, decided: true }) },
      ),
    );
    await quiet();
    assert.deepEqual(asked, [
      {
        agent_ids: [AGENT, other],
        session_ids: ["s"],
        user_ids: [USER],
        waiting: true,
        decided: true,
      },
    ]);
    assert.deepEqual([seen, answers], [[AGENT, other, AGENT], [0]]);

    // One that comes later looks at once, with the others; who has left is not asked about.
    stops[1]();
    watchShown(load, ...agent(other));
    await quiet();
    assert.equal(asked.length, 2);
    assert.deepEqual(asked[1].agent_ids, [AGENT, other]);
  });

  test("a question that fails is told to all, and repeated more and more rarely", async () => {
    const { supabase, asked, state } = database();
    const errors = [];
    state.status = 500;
    for (const name of ["one", "two"])
      watchShown(
        supabase,
        () => Promise.resolve(name),
        () => {},
        {
          shown: () => ({ agentIds: [AGENT] }),
          onError: ({ code }) => errors.push(`${name} ${code}`),
        },
      );
    await quiet();
    assert.deepEqual(errors, ["one upstream_error", "two upstream_error"]);
    assert.deepEqual(await timesOf(asked, 30), [4, 12, 28]);
    state.status = 200;
    assert.deepEqual(await timesOf(asked, 60), [30, 32, 40, 50, 60]);
  });

  test("a load that fails is told, and repeated although nothing has changed", async () => {
    const { supabase, state } = database();
    state.agents[AGENT] = ["a"];
    const seen = [],
      errors = [];
    const { load } = source(new Error("no"), 1);
    watchShown(supabase, load, (n) => seen.push(n), {
      shown: () => ({ agentIds: [AGENT] }),
      onError: ({ message }) => errors.push(message),
    });
    await quiet();
    assert.deepEqual([seen, errors], [[], ["no"]]);
    await timesOf([], 4);
    assert.deepEqual([seen, errors], [[1], ["no"]]);
  });

  test("a tab that was hidden loads when it is shown", async () => {
    const page = Object.assign(new EventTarget(), {
      visibilityState: "visible",
    });
    globalThis.document = page;
    const turn = (state) => {
      page.visibilityState = state;
      page.dispatchEvent(new Event("visibilitychange"));
    };
    const { supabase, asked, state } = database();
    state.agents[AGENT] = ["a"];
    const { load, loads } = source(1);
    const stop = watchShown(supabase, load, () => {}, {
      shown: () => ({ agentIds: [AGENT] }),
    });
    await quiet();
    assert.equal(loads(), 1);
    turn("hidden");
    assert.deepEqual(await timesOf(asked, 60), []);
    turn("visible");
    await quiet();
    assert.equal(loads(), 2);
    stop();
    turn("visible");
    assert.deepEqual(await timesOf(asked, 60), []);
  });

  test("Realtime says when to look, and polling goes on slowly", async () => {
    const asked = [];
    const row = {
      id: AGENT,
      user_id: USER,
      session_id: "s",
      status: "building",
      plan: {},
      build: [],
      agent_event: [],
    };
    const { supabase } = fake({
      rpc: [
        () => (
          asked.push("look"),
          // What changed, the agent, and its plans, twice.
          Response.json(
            asked.length % 4 === 1
              ? { agents: { [AGENT]: [asked.length] } }
              : asked.length % 4 === 2
                ? [row]
                : [],
          )
        ),
      ],
    });
    const subscriptions = [];
    let status, removed;
    const channel = {
      on: (type, filter, callback) => (
        subscriptions.push([type, filter, callback]),
        channel
      ),
      subscribe: (callback) => ((status = callback), channel),
    };
    supabase.channel = () => channel;
    supabase.removeChannel = (gone) => (
      (removed = gone),
      Promise.resolve("ok")
    );
    const stop = watchAgent(supabase, AGENT, () => {}, { realtime: true });
    await quiet();
    assert.deepEqual(
      subscriptions.map(([type, { table, filter }]) => [type, table, filter]),
      [
        ["postgres_changes", "agent", `id=eq.${AGENT}`],
        ["postgres_changes", "build", `agent_id=eq.${AGENT}`],
      ],
    );
    assert.equal(asked.length, 4);
    status("SUBSCRIBED");
    await quiet();
    assert.equal(asked.length, 8);
    await tick(19_999);
    await quiet();
    assert.equal(asked.length, 8);
    subscriptions[1][2]();
    await quiet();
    assert.equal(asked.length, 12);
    status("CHANNEL_ERROR");
    await quiet();
    await tick(10_000);
    await quiet();
    assert.equal(asked.length, 20);
    stop();
    assert.equal(removed, channel);
  });
});
