"""A planner in LangGraph: `python planner.py SESSION`. Kill it while it waits, run it again, and it goes on."""

import asyncio
import os
import sys
from typing import Literal, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from model import llm  # yours

# docs: from here
from greenlight.planner import Approved, ChangesRequested, Planner

greenlight = Planner(
    os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"], user_id=os.environ["USER_ID"]
)


class State(TypedDict, total=False):
    session: str
    version: int
    feedback: str
    agent: str


async def propose(state: State) -> State:
    plan = await llm.ainvoke(f"Write a plan for the move. {state.get('feedback', '')}")
    proposal = await greenlight.propose("The move", plan.content, session_id=state["session"])
    return {"version": proposal.version}


async def decide(state: State) -> Command[Literal["propose", "__end__"]]:
    interrupt(f"waiting for version {state['version']}")  # what it is resumed with does not matter
    match await greenlight.proposal(state["session"], state["version"]).decision():
        case Approved(agent_id=agent):
            return Command(goto=END, update={"agent": agent})
        case ChangesRequested(feedback=feedback):
            return Command(goto="propose", update={"feedback": feedback})
        case ending:
            raise SystemExit(f"It ended: {ending}")


# docs: to here


async def main(session: str) -> None:
    graph = StateGraph(State).add_node(propose).add_node(decide).add_edge(START, "propose")
    graph.add_edge("propose", "decide")
    config = {"configurable": {"thread_id": session}}
    async with AsyncSqliteSaver.from_conn_string("planner.sqlite") as checkpoints:
        planner = graph.compile(checkpoints)
        begun = (await planner.aget_state(config)).next
        state = await planner.ainvoke(None if begun else {"session": session}, config)
        while "agent" not in state:
            print(state["__interrupt__"][0].value, flush=True)
            state = await planner.ainvoke(Command(resume=True), config)
    print("agent", state["agent"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
