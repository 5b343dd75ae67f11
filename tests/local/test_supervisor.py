"""The stack starts, stops and recovers from any interruption, and explains what it refuses."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import psutil
import psycopg
import pytest

import local.postgres
from local import ROOT
from local.processes import LocalError, accepts_connections, free_ports
from local.stack import Settings, Stack, service


def variables(directory: Path, ports: list[int]) -> dict[str, str]:
    names = ("API_PORT", "POSTGRES_PORT", "SERVICE_PORT", "UI_PORT", "PAGES_PORT")
    given = {name: str(port) for name, port in zip(names, ports, strict=False)}
    mail, smtp = map(str, free_ports(2))
    return {
        **os.environ,
        **given,
        "MAIL_PORT": mail,
        "SMTP_PORT": smtp,
        "LOCAL_DIR": str(directory),
        "EXAMPLE_BUILDER": "false",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stack's directory as it is after a first, orderly run."""
    directory = tmp_path_factory.mktemp("prepared")
    with Stack(Settings(directory, *free_ports(4)), service=False):
        return directory


@pytest.fixture
def directory(prepared: Path, tmp_path: Path) -> Path:
    """Return a copy of it, for one test."""
    return Path(shutil.copytree(prepared, tmp_path / "local"))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def supervisor(directory: Path, ports: list[int]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run the stack in its own process, like `make up` but without the web app, until it reports that it is ready."""
    code = (
        "import sys, local.__main__ as main, local.stack as stack\n"
        "stack.Stack._start_web = lambda self: None\n"
        "stack.web.build = lambda: None\n"
        "sys.argv = ['local', 'up']\n"
        "sys.exit(main.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=variables(directory, ports),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        yield process, process.stdout
    finally:
        process.kill()
        process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_asked_and_leaves_nothing_running(ask: signal.Signals, directory: Path) -> None:
    ports = free_ports(4)
    with supervisor(directory, ports) as (process, output):
        children = family(process)
        assert all(accepts_connections(port) for port in ports[:3])
        process.send_signal(ask)
        assert "Stopping" in output.readline() + output.readline()
        # An impatient second time changes nothing.
        process.send_signal(ask)
        assert process.wait(30) == 0
    assert gone(children)
    assert not any(accepts_connections(port) for port in ports)


def test_the_data_survives_the_death_of_everything(directory: Path) -> None:
    ports = free_ports(4)
    with supervisor(directory, ports) as (process, _):
        keys = _environment(directory)
        user = _sign_up(keys)
        victims = [psutil.Process(process.pid), *family(process)]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=30)
    with Stack(Settings(directory, *ports), service=False) as stack:
        assert stack.keys.publishable == keys["SUPABASE_PUBLISHABLE_KEY"]
        assert _sign_in(keys, user).status_code == 200


def test_a_killed_supervisor_leaves_nothing_in_the_next_ones_way(directory: Path) -> None:
    ports = free_ports(4)
    with supervisor(directory, ports) as (process, _):
        keys = _environment(directory)
        user = _sign_up(keys)
        orphans = family(process)
        process.kill()
        process.wait()
        with Stack(Settings(directory, *ports)) as stack:
            assert gone(orphans)
            assert _sign_in(keys, user).status_code == 200
            assert httpx.get(f"{stack.settings.service_url}/healthz").status_code == 200


def test_a_lock_file_that_names_a_stranger_does_not_stop_postgres(directory: Path) -> None:
    settings = Settings(directory, *free_ports(4))
    with Stack(settings, service=False) as stack:
        data = stack.postgres.data
    # As after a power cut, when the number has been given to another process since: here, to this test.
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    with Stack(settings, service=False):
        assert accepts_connections(settings.postgres_port)


def test_a_database_that_was_killed_comes_back_beneath_the_running_stack(directory: Path) -> None:
    with Stack(Settings(directory, *free_ports(4)), service=False) as stack:
        stack.child("postgres").kill()
        key = {"apikey": stack.keys.secret}
        rows = f"{stack.settings.supabase_url}/rest/v1/plan"
        assert httpx.get(rows, headers=key).status_code == 503
        stack.restart("postgres")
        until(lambda: httpx.get(rows, headers=key).status_code == 200)
        with psycopg.connect(stack.postgres.url(), autocommit=True) as database:
            database.execute("create table public.afterwards ()")
            # The first notifications may come before the gateway listens again; it reloads when it does.
            database.execute("notify pgrst, 'reload schema'")
            until(
                lambda: (
                    httpx.get(f"{stack.settings.supabase_url}/rest/v1/afterwards", headers=key).status_code
                    == 200
                )
            )


def test_a_process_that_dies_is_reported(directory: Path) -> None:
    with Stack(Settings(directory, *free_ports(4)), service=False) as stack:
        psutil.Process(stack.child("gateway").pid).kill()
        with pytest.raises(LocalError, match="The gateway ended"):
            stack.wait()


@pytest.mark.parametrize(
    ("index", "variable"),
    list(enumerate(["API_PORT", "POSTGRES_PORT", "SERVICE_PORT", "UI_PORT", "PAGES_PORT"])),
)
def test_a_taken_port_is_named_with_its_variable(index: int, variable: str, tmp_path: Path) -> None:
    ports = free_ports(5)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", ports[index]))
        squatter.listen()
        result = subprocess.run(
            [sys.executable, "-m", "local", "up"],
            check=False,
            capture_output=True,
            text=True,
            env={**variables(tmp_path, ports), "EXAMPLE_BUILDER": "true"},
            cwd=ROOT,
        )
    assert result.returncode == 1
    assert f"Port {ports[index]} is taken" in result.stderr
    assert f"{variable}=" in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(accepts_connections(port) for port in ports)


def test_all_taken_ports_are_named_at_once(tmp_path: Path) -> None:
    ports = free_ports(7)
    stack = Stack(Settings(tmp_path, *ports), web=True)
    with socket.socket() as api, socket.socket() as ui:
        api.bind(("127.0.0.1", ports[0]))
        ui.bind(("127.0.0.1", ports[3]))
        with pytest.raises(LocalError) as refused:
            stack.start()
        elsewhere = stack.settings.on_free_ports()
        assert not {elsewhere.api_port, elsewhere.ui_port} & {ports[0], ports[3]}
        assert (elsewhere.postgres_port, elsewhere.service_port) == (ports[1], ports[2])
    assert str(refused.value) == (
        f"Ports {ports[0]} and {ports[3]} are taken:"
        f" make up API_PORT={ports[0] + 1000} UI_PORT={ports[3] + 1000}"
    )
    assert stack.settings.on_free_ports() == stack.settings


def test_a_wrong_port_is_refused_by_name(tmp_path: Path) -> None:
    env = {**variables(tmp_path, free_ports(4)), "SERVICE_PORT": "http"}
    result = subprocess.run(
        [sys.executable, "-m", "local", "up"], check=False, capture_output=True, text=True, env=env, cwd=ROOT
    )
    assert (result.returncode, result.stderr) == (1, "SERVICE_PORT must be a port number, not 'http'\n")


def test_one_stack_a_directory(directory: Path) -> None:
    with Stack(Settings(directory, *free_ports(4)), service=False):
        second = Stack(Settings(directory, *free_ports(4)), service=False)
        with pytest.raises(LocalError, match=f"already runs here: .*\\n.*kill {os.getpid()}\\n"):
            second.start()
        with pytest.raises(LocalError, match="already runs here"):
            second.reset()


def test_reset_wipes_the_data_and_the_keys(directory: Path) -> None:
    settings = Settings(directory, *free_ports(4))
    with Stack(settings, service=False) as stack:
        keys = stack.variables()
        user = _sign_up(keys)
        assert _sign_in(keys, user).status_code == 200
        (directory / "pages").mkdir()  # as with the example builder
    Stack(settings).reset()
    assert {path.name for path in directory.iterdir()} <= {"lock", "processes.json"}
    with Stack(settings, service=False) as stack:
        assert stack.keys.publishable != keys["SUPABASE_PUBLISHABLE_KEY"]
        refused = _sign_in(stack.variables(), user)
        assert refused.json()["error_code"] == "invalid_credentials"


def test_what_the_environment_file_says_is_for_its_owner_alone(directory: Path) -> None:
    with Stack(Settings(directory, *free_ports(4)), service=False) as stack:
        assert _environment(directory) == stack.variables()
        with psycopg.connect(stack.variables()["DATABASE_URL"]) as database:
            assert database.execute("select current_user::text").fetchone() == ("postgres",)
    for name in ("env", "keys.json"):
        assert (directory / name).stat().st_mode & 0o077 == 0
    assert directory.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_root_without_user_namespaces_runs_postgres_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.postgres, "_namespaces", lambda: False)
    stack = Stack(Settings(tmp_path, *free_ports(4)), service=False)
    home = local.postgres.home(tmp_path)
    try:
        with stack:
            assert psutil.Process(stack.child("postgres").pid).uids().effective == local.postgres.NOBODY
            assert home != tmp_path
            assert _sign_in(stack.variables(), _sign_up(stack.variables())).status_code == 200
    finally:
        stack.reset()
    assert not home.exists()


def _environment(directory: Path) -> dict[str, str]:
    lines = (directory / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def _sign_up(keys: dict[str, str]) -> str:
    email = f"{os.urandom(8).hex()}@example.com"
    _auth(keys, "signup", email).raise_for_status()
    return email


def _sign_in(keys: dict[str, str], email: str) -> httpx.Response:
    return _auth(keys, "token?grant_type=password", email)


def _auth(keys: dict[str, str], path: str, email: str) -> httpx.Response:
    credentials = {"email": email, "password": "correct horse"}
    headers = {"apikey": keys["SUPABASE_PUBLISHABLE_KEY"]}
    return httpx.post(f"{keys['SUPABASE_URL']}/auth/v1/{path}", json=credentials, headers=headers, timeout=30)


def test_a_child_is_told_of_no_other_supabase(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the secret of the caller's project the service would accept more tokens than it should."""
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "x" * 32)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    monkeypatch.setenv("KEPT", "1")

    child = service("http://supabase.test", "sb_publishable_x", 1, tmp_path / "log")

    told = {name for name in child._env if name.startswith("SUPABASE_")}
    assert told == {"SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"}
    assert child._env["KEPT"] == "1"
