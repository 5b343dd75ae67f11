"""The planner's tools, called with whatever their own schemas describe, and with what they exclude."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from greenlight.mcp.tools import create_server
from tests import SOAK
from tests.caller import Caller, expect_problem
from tests.plan import sha256

Json = Any
TOOLS = {tool.name: tool.input_schema for tool in asyncio.run(create_server().list_tools())}

# Every code point, half of a surrogate pair and NUL included.
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
CHARACTERS = ("x", "\u00e9", "\U0001f680")  # of one, two and four bytes
OTHER_TYPES = st.sampled_from(
    [None, True, 0, 1.0, 1.5, -1, "", "1", "null", [], [1], {}, {"a": None}, 10**400]
)


def fitting(schema: Json) -> st.SearchStrategy[Json]:
    """Return values that the schema allows, its edges among them."""
    if "anyOf" in schema:
        # No team: that the caller is in none is found only after the upload.
        return st.one_of([fitting(part) for part in schema["anyOf"] if part.get("format") != "uuid"])
    low, high = schema.get("minimum"), schema.get("maximum")
    match schema["type"]:
        case "null":
            return st.none()
        case "integer":
            return st.integers(low, high) | st.sampled_from([low, high])
        case "number":
            return st.sampled_from([low, high]) | st.floats(low, high)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            longest = schema["maxLength"]
            edges = st.sampled_from([text * (longest // len(text.encode())) for text in CHARACTERS])
            return st.text(min_size=1, max_size=50) | edges
    raise AssertionError(schema)


def excluded(schema: Json) -> st.SearchStrategy[Json]:
    """Return values just outside of what the schema allows, or of another type."""
    wrong = [OTHER_TYPES, TEXT]
    for part in schema.get("anyOf", [schema]):
        edges = (("minimum", -1), ("maximum", 1))
        wrong += [st.just(part[name] + beyond) for name, beyond in edges if name in part]
        if "maxLength" in part:
            wrong.append(st.sampled_from([text * (part["maxLength"] + 1) for text in CHARACTERS]))
        if "pattern" in part:
            wrong.append(fitting(part).map(lambda text: text + "\n"))
    return st.one_of(wrong)


def arguments_of(schema: Json) -> st.SearchStrategy[dict[str, Json]]:
    """Return arguments that fit, all or all but a few of them, and sometimes one too many or one too few."""
    properties = schema["properties"]
    fits = {name: fitting(part) for name, part in properties.items()}
    mixed = {name: fits[name] | excluded(part) for name, part in properties.items()}
    required = {name: mixed[name] for name in schema["required"]}
    optional = {name: mixed[name] for name in properties if name not in required}
    return st.one_of(
        st.fixed_dictionaries(fits),
        st.fixed_dictionaries(required, optional=optional),
        st.fixed_dictionaries({}, optional={**mixed, "approve": st.booleans(), "user_id": TEXT}),
    )


def state(user: Caller) -> Json:
    return [user.rows(table) for table in ("plan", "agent", "agent_event", "build")], user.folders()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.soak
def test_a_tool_does_what_its_arguments_say_or_refuses_and_does_nothing(
    tool: str, user: Caller, chance: random.Random
) -> None:
    @seed(chance.randrange(2**32))
    @settings(
        max_examples=60 if SOAK else 25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(arguments_of(TOOLS[tool]))
    def judge(arguments: dict[str, Json]) -> None:
        before = state(user)
        answer = user.tool(tool, **arguments)
        assert answer.status_code < 500, answer.text
        said = answer.json()
        # The request itself: JSON may write one byte of a document as six.
        too_long = answer.status_code == 413
        refused = too_long or "error" in said or said["result"]["isError"]
        if refused:
            assert state(user) == before
            if too_long:
                expect_problem(answer, 413, "document_too_large")
            elif answer.status_code == 200:
                refusal = said["result"]["structuredContent"]
                assert not refusal["retryable"]
                assert refusal["code"] not in {"internal_error", "upstream_error"}
            return
        assert tool == "propose_plan"  # there is no plan of these names
        done = said["result"]["structuredContent"]
        (plan,) = user.rows("plan", session_id=f"eq.{done['session_id']}", version=f"eq.{done['version']}")
        assert plan["document_sha256"] == sha256(arguments["content"])
        assert plan["title"] in arguments["title"] or not done["created"]
        assert (plan["status"], plan["proposed_by"]) == (done["status"], "user")
        assert user.rows("agent") == []

    judge()
