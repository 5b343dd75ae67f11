"""Stands for your LLM: it writes a second plan when it reads what the human asks."""

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel


def write(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    read = str(messages)
    if "You are done." in read or "Stop." in read:
        return ModelResponse([TextPart("I am done.")])
    text = "# The move\n\n- Drive the van\n" if "With what car?" in read else "# The move\n\n- Drive\n"
    return ModelResponse([ToolCallPart("propose_plan", {"title": "The move", "text": text})])


model = FunctionModel(write)
