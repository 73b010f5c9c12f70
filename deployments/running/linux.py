"""What only Linux can do: find every descendant of a process, wherever it went, and let none outlive its parent.

Elsewhere a step's process group is all that can be found. No Django here: the supervisor imports it.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

HERE = sys.platform.startswith("linux")

#: This process has called adopt_orphans().
adopting = False

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_ENDED = frozenset("ZX")


def adopt_orphans() -> None:
    """From now on descendants whose parent dies become this process's children, instead of init's."""
    global adopting
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    adopting = True


def keep_to_itself() -> None:
    """Hide this process's environment and memory from others of the same user: steps are that user's processes too.

    The runner holds the platform's secrets. Root sees them all the same, so steps are never to run as root.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """This process gets SIGKILL when the thread that started it ends. Call it in the child, before exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def descendants(root: int) -> dict[int, str]:
    """Every process below `root` that still runs: pid -> name. What has ended, but is not yet reaped, is left out."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for pid, parent, _, name, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state not in _ENDED:
            names[pid] = name
    found: dict[int, str] = {}
    below = list(children.get(root, ()))
    while below:
        pid = below.pop()
        below.extend(children.get(pid, ()))
        if pid in names:
            found[pid] = names[pid]
    return found


def homes(directory: Path) -> dict[int, str]:
    """Processes whose HOME was a directory in this one when they were started: pid -> that directory's name.

    A step's HOME is its deployment's directory, and what a step starts inherits it, wherever it goes. Those of other
    users can't be seen.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended, or is somebody else's
            values = (Path(os.fsdecode(one[5:])) for one in environment.split(b"\0") if one.startswith(b"HOME="))
            if (home := next(values, None)) and home.parent == directory:
                found[int(entry.name)] = home.name
    return found


def children(root: int) -> set[int]:
    """The pids of the direct children of `root`, ended ones included."""
    return {pid for pid, parent, _, _, _ in _processes() if parent == root}


def groups(root: int) -> set[int]:
    """The process groups of the direct children of `root`, ended ones included; not the group of this process."""
    return {group for _, parent, group, _, _ in _processes() if parent == root} - {os.getpgrp()}


def _processes() -> list[tuple[int, int, int, str, str]]:
    """(pid, parent's pid, process group, name, state letter) of every process, from /proc/<pid>/stat."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                before, _, after = (entry / "stat").read_text(errors="replace").rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended since the directory was listed
            state, parent, group = after.split()[:3]
            found.append((int(entry.name), int(parent), int(group), before.partition("(")[2], state))
    return found
