// A planner in the Vercel AI SDK: `node planner.mjs SESSION`. Kill it while it waits, run it again, and it goes on.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createClient } from "@supabase/supabase-js";
import { generateText, tool } from "ai";
import { proposePlan, waitForDecision } from "greenlight-client";
import { z } from "zod";
import { model } from "./model.mjs"; // yours

// docs: from here
const { SUPABASE_URL, SUPABASE_SECRET_KEY, USER_ID: userId } = process.env;
const supabase = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY);
const sessionId = process.argv[2];
const file = `${sessionId}.json`;
const tools = {
  proposePlan: tool({
    description: "Propose the whole plan, as Markdown, and learn what the human decided.",
    inputSchema: z.object({ title: z.string(), text: z.string() }),
  }), // without `execute`: the answer is the human's
};

const messages = existsSync(file)
  ? JSON.parse(readFileSync(file, "utf8"))
  : [{ role: "user", content: "Plan the move, and propose the plan." }];
for (;;) {
  if (messages.at(-1).role !== "assistant") {
    messages.push(...(await generateText({ model, tools, messages })).responseMessages);
    writeFileSync(file, JSON.stringify(messages));
  }
  const call = messages.at(-1).content.find((part) => part.type === "tool-call");
  const version = messages.filter(({ role }) => role === "tool").length + 1;
  // The same version and text are the same proposal, so it does not matter which process proposed it.
  await proposePlan(supabase, { userId, sessionId, version, title: call.input.title, content: call.input.text });
  console.log("waiting for version", version);
  const decision = await waitForDecision(supabase, { userId, sessionId, version });
  if (decision.status === "approved") {
    console.log("agent", decision.agentId);
    break;
  }
  if (decision.status !== "changes_requested") throw new Error(`It ended: ${decision.status}`);
  const output = { type: "text", value: `Not approved. Propose it again, with these changes:\n\n${decision.feedback}` };
  messages.push({
    role: "tool",
    content: [{ type: "tool-result", toolCallId: call.toolCallId, toolName: "proposePlan", output }],
  });
}
// docs: to here
