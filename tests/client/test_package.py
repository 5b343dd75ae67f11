"""The npm package: checked as it is packed, and used from an empty project against the running stack."""

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from greenlight import __version__
from local import NODE, ROOT
from tests.client.package import MODULES, Run, output
from tests.conftest import RunningStack
from tests.plan import INVALID_TITLES, VALID_TITLES
from tests.test_docs import raised_by_the_database

HERE = Path(__file__).parent


def test_units(project: Path, chance: random.Random) -> None:
    shutil.copy(HERE / "units.test.mjs", project)
    variables: dict[str, Any] = {
        "TITLES": json.dumps({"valid": VALID_TITLES, "invalid": INVALID_TITLES}),
        "FEEDBACK": (HERE.parent / "feedback.json").read_text(),
        "SEED": str(chance.randrange(2**32)),
        "MARKDOWN_PARSER": (MODULES / "mdast-util-from-markdown" / "index.js").as_uri(),
    }
    said = output(NODE, "--test", "--test-reporter=tap", "units.test.mjs", cwd=project, **variables)
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
    assert packed.stat().st_size < 28_000
    package = project / "node_modules" / "greenlight-client"
    files = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    assert files == {"README.md", "package.json", "dist/index.js", "dist/index.d.ts"}
    assert "dependencies" not in (package / "package.json").read_text().replace("peerDependencies", "")
    assert not re.search(r"\b(import|require)\b[^;]*[\"']", (package / "dist" / "index.js").read_text())


def test_the_types_name_every_code_of_the_database() -> None:
    types = (ROOT / "client" / "src" / "errors.ts").read_text()
    union = types[types.index("type DatabaseErrorCode =") : types.index("export type ErrorCode =")]
    assert set(re.findall(r'\| "(\w+)"', union)) == set(raised_by_the_database())


def test_an_adopter_s_types(project: Path) -> None:
    shutil.copy(HERE / "usage.ts", project)
    tsc = MODULES / "typescript" / "bin" / "tsc"
    strict = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2024,dom")
    for resolution in (("--module", "nodenext"), ("--module", "esnext", "--moduleResolution", "bundler")):
        output(NODE, tsc, *strict, "--skipLibCheck", *resolution, "usage.ts", cwd=project)


def test_its_source_compiles_in_an_adopter_s_app(project: Path) -> None:
    """With the compiler options of create-next-app, which allow less than ours and check less, too."""
    shutil.copytree(ROOT / "client" / "src", project / "greenlight")
    shutil.copy(HERE / "usage.ts", project / "copied.ts")
    code = (project / "copied.ts").read_text().replace('"greenlight-client"', '"./greenlight"')
    (project / "copied.ts").write_text(code)
    options = (
        "--noEmit",
        "--strict",
        "--target",
        "es2017",
        "--lib",
        "dom,dom.iterable,esnext",
        "--skipLibCheck",
    )
    bundler = (
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--isolatedModules",
        "--esModuleInterop",
    )
    tsc = MODULES / "typescript" / "bin" / "tsc"
    output(NODE, tsc, *options, *bundler, "copied.ts", cwd=project)


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
            attempt = {"build_id": claim["build_id"], "attempt": claim["attempt"]}
            result = {"url": "https://example.com/bakery", "pages": 2}
            stack.as_builder("finish_build", **attempt, result=result, log="\x1b[32mBaked\x1b[0m 🥐\n")

    said = run("story.mjs", tell=build, SUPABASE_JWT_SECRET=stack.jwt_secret)
    assert said.endswith("\nthe story is told\n")
