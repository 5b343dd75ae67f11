"""A planner in the OpenAI Agents SDK: `python planner.py SESSION`. Kill it while it waits, and run it again."""

import asyncio
import os
import sys
from pathlib import Path

from agents import Agent, Runner, RunState, function_tool, set_tracing_disabled
from model import model  # yours

# docs: from here
from greenlight.planner import Approved, ChangesRequested, Planner

greenlight = Planner(
    os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"], user_id=os.environ["USER_ID"]
)
SESSION = sys.argv[1]
STATE = Path(f"{SESSION}.json")


# It lets the run stop before the call, to be saved. The plan's approval is the human's, in Greenlight.
@function_tool(needs_approval=True, timeout=None)
async def propose_plan(title: str, text: str) -> str:
    """Propose the whole plan, as Markdown, and learn what the human decided."""
    proposal = await greenlight.propose(title, text, session_id=SESSION)  # the same text is the same proposal
    print("waiting for version", proposal.version, flush=True)
    match await proposal.decision():
        case Approved():
            return "Approved. You are done."
        case ChangesRequested(feedback=feedback):
            return f"Not approved. Propose it again, with these changes:\n\n{feedback}"
        case ending:
            return f"Not approved: {ending}. Stop."


async def main() -> None:
    planner = Agent("Planner", instructions="Plan, and propose the plan.", model=model, tools=[propose_plan])
    begun = await RunState.from_string(planner, STATE.read_text()) if STATE.exists() else "Plan the move."
    result = await Runner.run(planner, begun)
    while result.interruptions:
        state = result.to_state()
        for call in result.interruptions:
            state.approve(call)
        STATE.write_text(state.to_string())
        result = await Runner.run(planner, state)
    # What the model says of it proves nothing: ask.
    proposal = await greenlight.newest(SESSION)
    match proposal and await proposal.decision():
        case Approved(agent_id=agent):
            print("agent", agent)
        case other:
            raise SystemExit(f"It ended: {other}")


# docs: to here

if __name__ == "__main__":
    set_tracing_disabled(True)
    asyncio.run(main())
