"""Stands for your LLM: it writes a second plan when it reads what the human asks."""

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda


def write(prompt: str) -> AIMessage:
    plans = ["# The move\n\n- Drive the van\n" if "With what car?" in prompt else "# The move\n\n- Drive\n"]
    return FakeListChatModel(responses=plans).invoke(prompt)


llm = RunnableLambda(write)
