"""The documentation agrees with the code."""

import json
import re
import subprocess
from pathlib import Path

from greenlight import __version__
from greenlight.errors import ERRORS
from greenlight.settings import Settings

ROOT = Path(__file__).parent.parent
ERRORS_PAGE = (ROOT / "docs/errors.md").read_text()
FUNCTIONS = (ROOT / "supabase/functions.sql").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()


def table_rows(page: str) -> list[list[str]]:
    """The cells of every row of every table of a page, without headings and rules."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")
    ]


def raised_by_the_database() -> dict[str, str]:
    """Code -> SQLSTATE, from greenlight.refuse()."""
    body = FUNCTIONS[
        FUNCTIONS.index("function greenlight.refuse(") : FUNCTIONS.index("function greenlight.require_user(")
    ]
    return dict(re.findall(r"\(\s*'(\w+)',\s*'(PT\d{3})',", body))


def test_errors_md_has_exactly_the_codes_of_the_database() -> None:
    on_the_page = {
        cells[0].strip("`"): cells[1] for cells in table_rows(ERRORS_PAGE) if cells[1].startswith("PT")
    }
    assert on_the_page == raised_by_the_database()


def test_every_code_of_the_database_is_raised_somewhere_and_no_other() -> None:
    assert set(re.findall(r"greenlight\.refuse\(\s*'(\w+)'", FUNCTIONS)) == set(raised_by_the_database())


def test_errors_md_has_exactly_the_codes_of_the_service() -> None:
    on_the_page = {
        cells[1].strip("`"): (int(cells[0]), cells[2])
        for cells in table_rows(ERRORS_PAGE)
        if cells[0].isdecimal()
    }
    said = {"yes": True, "no": False, "as its cause": False}
    assert {code: (status, said[retryable]) for code, (status, retryable) in on_the_page.items()} == {
        code: (kind.status, kind.retryable) for code, kind in ERRORS.items()
    }


def test_service_and_database_use_the_same_status_for_a_code() -> None:
    for code, sqlstate in raised_by_the_database().items():
        if code in ERRORS:
            assert ERRORS[code].status == int(sqlstate.removeprefix("PT")), code


def test_configuration_md_has_all_settings_with_their_defaults() -> None:
    on_the_page = {cells[0].strip("`"): cells[1] for cells in table_rows(CONFIGURATION) if cells[0][0] == "`"}
    assert on_the_page.keys() == {name.upper() for name in Settings.model_fields}
    for name, setting in Settings.model_fields.items():
        default = on_the_page[name.upper()]
        if setting.is_required():
            assert default == "required", name
        elif setting.default not in (None, ()):
            assert default == str(setting.default).lower(), name


def test_mcp_md_configures_the_consent_page_as_config_toml_does() -> None:
    """`database/test_push.py` lets the CLI read the file: it warns of keys that it does not know."""
    (settings,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/mcp.md").read_text(), re.DOTALL)
    assert settings in (ROOT / "supabase/config.toml").read_text()
    (path,) = re.findall(r'authorization_url_path = "(.*)"', settings)
    assert (ROOT / f"ui/app{path}/page.tsx").is_file()


def test_every_place_has_the_same_version() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    client, ui = (json.loads((ROOT / name / "package.json").read_text()) for name in ("client", "ui"))
    releases = re.findall(r"^## ([\d.]+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {
        "CHANGELOG.md": releases[0],
        "client": client["version"],
        "client, in the lock": lock["client"]["version"],
        "ui": ui["dependencies"]["greenlight-client"],
        "ui, in the lock": lock["ui"]["dependencies"]["greenlight-client"],
    } == dict.fromkeys(
        ("CHANGELOG.md", "client", "client, in the lock", "ui", "ui, in the lock"), __version__
    )


def test_what_the_documentation_links_to_is_there() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not re.match(r"https?://|mailto:", target):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_test_that_a_page_names_is_there() -> None:
    named = {
        (page.name, path, name)
        for page in [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
        for path, name in re.findall(r"`(?:tests/)?(\w+/test_\w+\.py)(?:::(\w+))?`", page.read_text())
    }
    assert len({name for page, _, name in named if page == "CONTRIBUTING.md"}) == 9  # the checklist's
    missing = [
        f"{page}: {path}::{name}"
        for page, path, name in sorted(named)
        if not (ROOT / "tests" / path).exists()
        or (name and f"def {name}(" not in (ROOT / "tests" / path).read_text())
    ]
    assert not missing


# Readers stumble over these words, between blanks or `_`. Each has a plain replacement.
OLD_WORDS = re.compile(
    r"(?<![A-Za-z])([Nn]obody|[Ss]omebody|[Ww]hoever|[Aa]new|[Aa]mid|(?<![Tt]here[ _])is[ _]none|to[ _]be[ _]had"
    r"|makes[ _]no[ _]sense|[Tt]he[ _]way[ _]of|passed[ _]over)(?![A-Za-z])"
)


def test_the_text_is_plain_english() -> None:
    """In comments, docs, messages and names alike."""
    files = ["git", "ls-files", "-z"]
    listed = subprocess.run(files, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in listed.rstrip("\0").split("\0"):
        path = ROOT / name
        if path == Path(__file__) or path.suffix in {".png", ".ico", ".lock"} or not path.is_file():
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := OLD_WORDS.search(line):
                found.append(f"{name}:{number}: {match[1]}")
    assert found == []


def test_planner_md_has_the_code_that_is_tested() -> None:
    """`tests/examples` runs it. The page has what stands between the two comments."""
    page = (ROOT / "docs/planner.md").read_text()
    shown = re.findall(r"^<!-- (examples/\S+) -->\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(shown) == page.count("<!-- examples/") == 5
    for name, code in shown:
        (tested,) = re.findall(
            r"docs: from here\n(.*?)\n\S+ docs: to here", (ROOT / name).read_text(), re.DOTALL
        )
        assert code.strip("\n") == tested.strip("\n"), name
