// Stands for your LLM: it writes a second plan when it reads what the human asks.
import { MockLanguageModelV4 } from "ai/test";

export const model = new MockLanguageModelV4({
  doGenerate: ({ prompt }) => {
    const read = JSON.stringify(prompt);
    const text = read.includes("With what car?") ? "# The move\n\n- Drive the van\n" : "# The move\n\n- Drive\n";
    const call = {
      type: "tool-call",
      toolCallId: `call-${text.length}`,
      toolName: "proposePlan",
      input: JSON.stringify({ title: "The move", text }),
    };
    return Promise.resolve({
      content: [call],
      finishReason: { unified: "tool-calls", raw: undefined },
      usage: {
        inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: 1, text: 1, reasoning: undefined },
      },
      warnings: [],
    });
  },
});
