"""A planner without a framework: `python planner.py SESSION`. Kill it while it waits, run it again, and it goes on."""

import asyncio
import os
import sys

# docs: from here
from greenlight.planner import Approved, Planner

greenlight = Planner(
    os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"], user_id=os.environ["USER_ID"]
)


async def plan(session: str) -> None:
    rounds = greenlight.rounds(session)
    async for turn in rounds:
        # Your LLM writes; `turn.feedback` is what the human said, and None at first.
        proposal = await turn.propose("The move", await write(turn.feedback))
        print("waiting for version", proposal.version, flush=True)
    match rounds.decision:
        case Approved(agent_id=agent):
            print("agent", agent)
        case ending:
            raise SystemExit(f"It ended: {ending}")


# docs: to here


async def write(feedback: str | None) -> str:
    """Stand for your LLM: write a second plan when the human asks."""
    return (
        "# The move\n\n- Drive the van\n"
        if "With what car?" in (feedback or "")
        else "# The move\n\n- Drive\n"
    )


if __name__ == "__main__":
    asyncio.run(plan(sys.argv[1]))
