"""What a process and its descendants use, as Linux's ``/proc`` says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

KNOWN = Path("/proc/self/statm").exists()
"""Whether this system says it."""

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTED = Path(f"/proc/self/task/{os.getpid()}/children").exists()
"""Whether a process's children can be read; else all processes are asked for their parent."""


@dataclass(frozen=True)
class Usage:
    """The sum over processes.

    Attributes:
        memory_bytes: Resident memory without pages of files, which the system can take back.
        cpu_seconds: CPU time, with that of children that have ended.
        tasks: Threads.
    """

    memory_bytes: int = 0
    cpu_seconds: float = 0
    tasks: int = 0


def below(pid: int) -> Usage:
    """The use of all descendants of ``pid``, without itself; nothing where it is not known."""
    if not KNOWN:
        return Usage()
    memory, ticks, tasks = 0, 0, 0
    for process in _descendants(pid):
        stat = _stat(process)
        if stat is not None:
            memory += _memory(process)
            ticks += sum(int(value) for value in stat[11:15])
            tasks += int(stat[17])
    return Usage(memory, ticks / _TICKS, tasks)


def size(places: Sequence[Path]) -> int:
    """Bytes on disk of files and of all files in folders; a file in two places counts once."""
    found = {(s.st_dev, s.st_ino): s.st_blocks * 512 for s in _stats(places)}
    return sum(found.values())


def largest(places: Sequence[Path]) -> int:
    """The length of the longest file there."""
    return max((s.st_size for s in _stats(places)), default=0)


def _descendants(pid: int) -> list[int]:
    children = _listed if _LISTED else _by_parent()
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def _listed(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as stream:
                found += map(int, stream.read().split())
    except OSError:
        pass
    return found


def _by_parent() -> Callable[[int], list[int]]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        stat = _stat(int(name))
        if stat is not None:
            children.setdefault(int(stat[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` from the state on; the name before it may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _memory(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
            fields = dict(line.split(":", 1) for line in stream if ":" in line)
    except OSError:
        return 0
    names = ("RssAnon", "RssShmem", "VmSwap")
    return sum(1024 * int(fields[name].split()[0]) for name in names if name in fields)


def _stats(places: Sequence[Path]) -> Iterator[os.stat_result]:
    for place in places:
        if place.is_dir():
            for folder, _, names in os.walk(place):
                for name in names:
                    try:
                        yield os.lstat(os.path.join(folder, name))
                    except OSError:
                        continue
        elif place.exists():
            yield place.stat()
