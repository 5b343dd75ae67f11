"""The npm package: checked as it is packed, and used from an empty project against the running stack."""

import json
import re
import shutil
from pathlib import Path

import pytest

from greenlight import __version__
from local import NODE, ROOT
from tests.client.conftest import MODULES, Run, output
from tests.conftest import RunningStack
from tests.plan import INVALID_TITLES, VALID_TITLES
from tests.test_docs import raised_by_the_database

HERE = Path(__file__).parent


def test_units() -> None:
    titles = json.dumps({"valid": VALID_TITLES, "invalid": INVALID_TITLES})
    said = output(NODE, "--test", "--test-reporter=tap", HERE / "units.test.mjs", cwd=ROOT, TITLES=titles)
    assert "not ok" not in said
    # That it ran anything.
    assert re.search(r"^# pass \d{2,}$", said, re.MULTILINE)


def test_it_is_packed_as_npm_wants_it(packed: Path) -> None:
    said = output(NODE, MODULES / "publint" / "src" / "cli.js", "--strict", packed, cwd=ROOT)
    assert "All good!" in said


def test_it_has_the_version_of_the_service(packed: Path) -> None:
    assert packed.name == f"greenlight-client-{__version__}.tgz"


def test_its_types_resolve(packed: Path) -> None:
    attw = MODULES / "@arethetypeswrong" / "cli" / "dist" / "index.js"
    output(NODE, attw, packed, "--profile", "esm-only", "--no-emoji", cwd=ROOT)


def test_it_is_small_and_brings_nothing_with_it(packed: Path, project: Path) -> None:
    assert packed.stat().st_size < 20_000
    package = project / "node_modules" / "greenlight-client"
    assert {file.suffix for file in package.iterdir()} == {".js", ".ts", ".json", ".md"}
    assert "dependencies" not in (package / "package.json").read_text().replace("peerDependencies", "")
    for file in package.glob("*.js"):
        imports = re.findall(r'^(?:import|export) [^;]*from "([^"]+)"', file.read_text(), re.MULTILINE)
        assert all(name.startswith("./") for name in imports), f"{file.name} imports {imports}"


def test_the_types_name_every_code_of_the_database() -> None:
    types = (ROOT / "client" / "types.d.ts").read_text()
    union = types[types.index("type DatabaseErrorCode =") : types.index("export type ErrorCode =")]
    assert set(re.findall(r'\| "(\w+)"', union)) == set(raised_by_the_database())


def test_an_adopter_s_types(project: Path) -> None:
    shutil.copy(HERE / "usage.ts", project)
    tsc = MODULES / "typescript" / "bin" / "tsc"
    strict = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2024,dom")
    for resolution in (("--module", "nodenext"), ("--module", "esnext", "--moduleResolution", "bundler")):
        output(NODE, tsc, *strict, "--skipLibCheck", *resolution, "usage.ts", cwd=project)


@pytest.mark.parametrize("runtime", ["node", "deno"])
def test_the_story(stack: RunningStack, project: Path, runtime: str, request: pytest.FixtureRequest) -> None:
    if stack.jwt_secret is None:
        pytest.skip("only a local Supabase lets a token with a client_id be made")
    stack.needs_database()
    run: Run = request.getfixturevalue(runtime)
    shutil.copy(HERE / "story.mjs", project)

    def build(line: str) -> None:
        if line.startswith("build "):
            claim = stack.claim(line.removeprefix("build "))
            stack.as_builder("finish_build", build_id=claim["build_id"], attempt=claim["attempt"])

    said = run("story.mjs", tell=build, SUPABASE_JWT_SECRET=stack.jwt_secret)
    assert said.endswith("\nthe story is told\n")
