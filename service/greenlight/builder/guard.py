"""The process around one build: it starts the command, and ends it with all that it started.

Its standard input is a pipe that only the builder holds. When the pipe ends, because the build is lost, the builder
stops, or was killed, everything below this process gets SIGTERM, and SIGKILL after a timeout. When the command has
ended, the builder writes to the pipe: then what is left is killed, and the builder reads what the command made. When
the pipe ends, the build's directory is removed.

On Linux it adopts the processes whose parent has ended. So neither `setsid` nor a second fork gets a process away from
it, and no zombies are left. Before the command starts, it is kept apart from other builds, as far as `isolate` says:

- `files`: in mounts of its own it sees no other build's directory, and none of the files in `hidden`. An ordinary user
  needs a user namespace for that, too. The command cannot undo the mounts: it has no capabilities there, and root has
  only those of a container.
- `processes`: Landlock lets it send signals to its own processes only, and read and trace no others. So it cannot end
  this one, or look through another build's eyes (/proc/PID/root).

It runs as a script of its own, imports nothing of the package, and is never given the secret key.
"""

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

# pathlib would take a third of the time that it needs to start.
# ruff: noqa: PTH102, PTH106, PTH108, PTH118, PTH120, PTH123, PTH208

LINUX = sys.platform == "linux"

# From <linux/prctl.h>, <linux/sched.h>, <sys/mount.h>, <asm/unistd.h> and <linux/landlock.h>
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 24, 36, 38
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 0x1000, 0x4000, 0x80000
MNT_DETACH = 2
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_SCOPE_SIGNAL = 2  # since version 6, Linux 6.12

# What Docker leaves to root in a container, but for MKNOD: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
# SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, AUDIT_WRITE, SETFCAP.
KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31}

DEAD_SECONDS = 5.0  # that killed processes may take to end
LOOK_SECONDS = 0.02  # between two looks for processes that were started since


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    task: dict[str, Any] = {**json.loads(sys.argv[1]), "command": sys.argv[2:]}
    builder, directory = os.getppid(), task["directory"]
    os.set_inheritable(task["report"], False)
    # Only the command writes to the build's output, and only its processes hold it open.
    task["output"] = [os.dup(1), os.dup(2)]
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        if "files" in task["isolate"]:
            hide_files(directory, task["hidden"])
        unreadable()
        if LINUX:
            _prctl(PR_SET_CHILD_SUBREAPER, 1)
        attend(task)
        _report(task, "over")
        while os.read(0, 4096):  # until the builder needs the directory no more
            pass
        if "files" in task["isolate"]:
            _system("umount2", os.fsencode(os.path.dirname(directory)), MNT_DETACH)
    except OSError as error:
        _report(task, f"guard: {error}")
    finally:
        remove(directory)
        if os.getppid() != builder:  # it was killed, and cannot remove its directory
            parent = os.path.dirname(directory)
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(parent, "ready"))
            with contextlib.suppress(OSError):  # the last of its guards does it
                os.rmdir(parent)


def hide_files(directory: str, hidden: list[str]) -> None:
    """Give this process, and the command to come, mounts of its own; hide what is not this build's."""
    user, group = os.geteuid(), os.getegid()
    try:
        _system("unshare", CLONE_NEWNS)
    except PermissionError:
        _system("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        for name, value in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(value)
    _mount("none", "/", "none", MS_REC | MS_SLAVE)
    for path in hidden:
        with contextlib.suppress(FileNotFoundError):
            _mount("/dev/null", os.path.realpath(path), "none", MS_BIND)
    # An empty directory over the one that has all builds, and in it this one, which is still the current directory.
    os.chdir(directory)
    _mount("tmpfs", os.path.dirname(directory), "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=711")
    os.mkdir(directory)
    _mount(".", directory, "none", MS_BIND)


def attend(task: dict[str, Any]) -> None:
    """Run the command until all of it has ended, or the builder says so; report its status; end what is left."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    command = os.fork()
    if command == 0:
        become(task)
    for end in task["output"]:
        os.close(end)

    running = left = wanted = True

    def wait(seconds: float | None) -> None:
        """Wait for a process below to end, for the builder to write or go, or for this time."""
        nonlocal running, left, wanted
        ready, _, _ = select.select([woken, *([0] if wanted else [])], [], [], seconds)
        wanted = wanted and 0 not in ready
        if woken in ready:
            os.read(woken, 4096)
        ended, left = reap()
        if command in ended:
            running = False
            _report(task, str(ended[command]))

    while wanted and left:
        wait(None)
    deadline = time.monotonic() + task["seconds"]
    if running:
        signal_all(command, signal.SIGTERM)
        while left and time.monotonic() < deadline:
            wait(max(0, deadline - time.monotonic()))
    # What does not end belongs to another user, or hangs in the kernel.
    deadline = time.monotonic() + DEAD_SECONDS
    signal_all(command, signal.SIGKILL)
    while left and time.monotonic() < deadline:
        wait(LOOK_SECONDS)
        signal_all(command, signal.SIGKILL)


def reap() -> tuple[dict[int, int], bool]:
    """Return the children that have ended, with their exit codes, and whether there are others."""
    ended = {}
    try:
        while (child := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            ended[child[0]] = os.waitstatus_to_exitcode(child[1])
    except ChildProcessError:
        return ended, False
    return ended, True


def become(task: dict[str, Any]) -> NoReturn:
    """Become the command."""
    try:
        os.setsid()
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, end in enumerate(task["output"], 1):
            os.dup2(end, target)
        os.chdir(task["place"])  # as it is now seen
        if "files" in task["isolate"]:
            drop_capabilities()
        if "processes" in task["isolate"]:
            separate_processes()
        os.execvp(task["command"][0], task["command"])  # noqa: S606 -- no shell is the point
    except OSError as error:
        _report(task, f"start: {error.strerror}")
    finally:
        os._exit(127)


def unreadable() -> None:
    """Let no process of the same user read this one's memory or environment, or attach to it."""
    if LINUX:
        _prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Keep those of a container at most, from the start of the next program on."""
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES:
            try:
                _prctl(PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:  # the kernel knows no more of them
                    return
                raise


def separate_processes() -> None:
    """Let this process, and its children, send signals to each other only, and trace no others."""
    version = _system(
        "syscall", LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION
    )
    if version < 6:
        raise OSError(
            errno.ENOSYS, f"landlock: the kernel has version {version}, and 6 is needed (Linux 6.12)"
        )
    rules = (ctypes.c_uint64 * 3)(0, 0, LANDLOCK_SCOPE_SIGNAL)  # files, network, scope
    ruleset = _system(
        "syscall", LANDLOCK_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0
    )
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _system("syscall", LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def signal_all(group: int, number: int) -> None:
    """Send a signal to everything below this process, and to the command's process group."""
    for pid in below(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    if not LINUX:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def below(ancestor: int) -> list[int]:
    """Return the processes that descend from this one."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats():
        children.setdefault(int(fields[1]), []).append(pid)
    family = [ancestor]
    for pid in family:
        family += children.get(pid, [])
    return family[1:]


def zombies(parent: int) -> list[int]:
    """Return the children of this process that have ended, and were not waited for."""
    return [pid for pid, fields in _stats() if fields[0] == "Z" and int(fields[1]) == parent]


def carrying(variable: str) -> list[int]:
    """Return the processes that were started with this variable (`NAME=value`) in their environment."""
    pids = []
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if variable.encode() in file.read().split(b"\0"):
                pids.append(pid)
    return pids


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with what /proc says of it, from its state and its parent on."""
    for pid in _pids():
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file,
        ):
            yield pid, file.read().rpartition(")")[2].split()  # a name may have spaces and brackets


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()] if LINUX else []


def remove(directory: str) -> None:
    """Remove a directory however deep it is, and if the command has made parts of it read-only."""
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        if not os.path.lexists(directory):
            return
        with contextlib.suppress(OSError):
            subprocess.run([*command, "--", directory], stderr=subprocess.DEVNULL, check=False)


def _report(task: dict[str, Any], line: str) -> None:
    with contextlib.suppress(OSError):  # the builder is gone
        os.write(task["report"], f"{line}\n".encode())


def _prctl(option: int, value: int) -> None:
    _system("prctl", option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _system("mount", *map(os.fsencode, (source, target, kind)), ctypes.c_ulong(flags), os.fsencode(data))


def _system(name: str, *arguments: Any) -> int:
    """Make a call of the C library; raise an OSError that names it if it fails."""
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    main()
