"""A planner in PydanticAI: `python planner.py SESSION`. Kill it while it waits, run it again, and it goes on."""

import asyncio
import os
import sys
from pathlib import Path

from model import model  # yours
from pydantic_ai import (
    Agent,
    CallDeferred,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
)
from pydantic_ai.messages import ModelResponse, ToolCallPart

# docs: from here
from greenlight.planner import Approved, ChangesRequested, Planner

greenlight = Planner(
    os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"], user_id=os.environ["USER_ID"]
)
SESSION = sys.argv[1]
HISTORY = Path(f"{SESSION}.json")
planner = Agent(model, output_type=[str, DeferredToolRequests])


@planner.tool_plain
def propose_plan(title: str, text: str) -> str:
    """Propose the whole plan, as Markdown, and learn what the human decided."""
    raise CallDeferred


async def decided(call: ToolCallPart) -> str:
    plan = call.args_as_dict()
    # The same text is the same proposal, so it does not matter who proposed it.
    proposal = await greenlight.propose(plan["title"], plan["text"], session_id=SESSION)
    print("waiting for version", proposal.version, flush=True)
    match await proposal.decision():
        case Approved():
            return "Approved. You are done."
        case ChangesRequested(feedback=feedback):
            return f"Not approved. Propose it again, with these changes:\n\n{feedback}"
        case ending:
            return f"Not approved: {ending}. Stop."


async def main() -> None:
    history = ModelMessagesTypeAdapter.validate_json(HISTORY.read_bytes()) if HISTORY.exists() else []
    if not history:
        history = (await planner.run("Plan the move.")).all_messages()
    while calls := history[-1].tool_calls if isinstance(history[-1], ModelResponse) else []:
        HISTORY.write_bytes(ModelMessagesTypeAdapter.dump_json(history))
        answers = DeferredToolResults(calls={call.tool_call_id: await decided(call) for call in calls})
        history = (await planner.run(message_history=history, deferred_tool_results=answers)).all_messages()
    # What the model says of it proves nothing: ask.
    proposal = await greenlight.newest(SESSION)
    match proposal and await proposal.decision():
        case Approved(agent_id=agent):
            print("agent", agent)
        case other:
            raise SystemExit(f"It ended: {other}")


# docs: to here

if __name__ == "__main__":
    asyncio.run(main())
