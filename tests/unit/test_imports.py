"""What imports what in service/greenlight, imports for type checkers and in functions included."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from local import ROOT

SERVICE = ROOT / "service"
MODULES = {
    ".".join(path.relative_to(SERVICE).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text()
    )
    for path in (SERVICE / "greenlight").rglob("*.py")
}


def imports(tree: ast.Module) -> set[str]:
    """The package's modules that this one names."""
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= names & MODULES.keys() or {str(node.module)}
    return named & MODULES.keys()


GRAPH = {name: imports(tree) for name, tree in MODULES.items()}


def reached(start: str) -> set[str]:
    found = [start]
    for module in found:
        found += sorted(GRAPH[module] - set(found))
    return set(found)


def test_no_module_imports_itself_through_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_service_never_imports_what_holds_the_secret_key() -> None:
    with_the_key = {name for name in MODULES if "greenlight.admin" in reached(name)}
    assert {
        "greenlight.admin",
        "greenlight.builder",
        "greenlight.doctor",
        "greenlight.export",
        "greenlight.notify.main",
        "greenlight.retention",
    } <= with_the_key
    service = reached("greenlight.serve")
    assert {"greenlight.routes", "greenlight.mcp.app", "greenlight.approval"} <= service
    assert service & (with_the_key | {"greenlight.install", "greenlight.cli", "greenlight.planner"}) == set()
