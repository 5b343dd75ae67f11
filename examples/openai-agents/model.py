"""Stands for your LLM: it writes a second plan when it reads what the human asks."""

from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call


def write(call: ModelCall) -> list:
    read = str(call.input)
    if "You are done." in read or "Stop." in read:
        return [assistant_message("I am done.")]
    text = "# The move\n\n- Drive the van\n" if "With what car?" in read else "# The move\n\n- Drive\n"
    return [function_call("propose_plan", {"title": "The move", "text": text}, call_id=f"call-{len(text)}")]


model = ScriptedModel([ModelStep.respond(write) for _ in range(9)])
