"""Which processes are ours: known by id and start time, since the system gives ids out again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.keys import write_private

# Longer than a provider may take to answer: a worker that is asked to end commits what it has in hand.
TERM_SECONDS = 20.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the stack. `started` is the system's own word for when; equal only for the same process."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return started(self.pid) == self.started


def started(pid: int) -> str | None:
    """When a living process started; None if there is none, or only its unreaped rest."""
    if sys.platform == "linux":
        return _started_by_proc(pid)
    answer = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, since = answer.stdout.strip().partition(" ")
    return since.strip() if since and not state.startswith("Z") else None


def _started_by_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The name in brackets may itself hold brackets and spaces. Fields 3 and 22 of proc(5).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def process(name: str, pid: int) -> Process:
    """Note a process that was just started."""
    return Process(name, pid, started(pid) or "")


@dataclass(frozen=True, slots=True)
class Stack:
    """What one `authpipe dev` runs, as it wrote it down for the next one and for `authpipe demo`.

    `state` is `starting`, `ready` or `ending`; `urls` has `api`, `temporal_ui` and `simulator`.
    """

    supervisor: Process
    parts: tuple[Process, ...]
    state: str
    urls: dict[str, str]


def record_file(data_dir: Path) -> Path:
    return data_dir / "processes.json"


def write_record(data_dir: Path, stack: Stack) -> None:
    write_private(record_file(data_dir), json.dumps(asdict(stack), indent=2))


def read_record(data_dir: Path) -> Stack | None:
    """What was written down, whether or not it still runs; None if nothing readable is there."""
    try:
        held = json.loads(record_file(data_dir).read_text(encoding="utf-8"))
        return Stack(
            Process(**held["supervisor"]),
            tuple(Process(**part) for part in held["parts"]),
            held["state"],
            held["urls"],
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running_stack(data_dir: Path) -> Stack | None:
    """The stack that is up and ready on this folder, if there is one."""
    stack = read_record(data_dir)
    return stack if stack and stack.state == "ready" and stack.supervisor.alive else None


def end(processes: Iterable[Process], seconds: float = TERM_SECONDS) -> list[Process]:
    """Ask each living one, with its group, to end; kill what stays longer. Returns those that were alive."""
    living = [p for p in processes if p.alive]
    for one in living:
        _signal(one, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(p.alive for p in living) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for one in living:
        if one.alive:
            _signal(one, signal.SIGKILL)
    return living


def _signal(one: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(one.pid) == one.pid:
            os.killpg(one.pid, number)
        else:
            os.kill(one.pid, number)
