"""Keeps the parts of a stack running: started in order, restarted with back-off, all ended together."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import PartFailedError
from runtime.processes import TERM_SECONDS, Process, process

REFUSED = 2
LEASH = Path(__file__).with_name("leash.py")

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A program to keep running.

    `ready` is asked, with its process id, until it is true. Parts of a higher `stage` end before those of a lower.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[int], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stage: int = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. A part that was ready for `steady` is restarted at once the next time, others after growing waits."""

    first_wait: float = 0.5
    longest_wait: float = 10.0
    steady: float = 5.0
    ready: float = 60.0
    term: float = TERM_SECONDS
    poll: float = 0.1
    tries_before_ready: int = 3


@dataclass(slots=True)
class _Kept:
    part: Part
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ready_at: float | None = None
    """When its present process was ready, by the loop's clock."""
    child: asyncio.subprocess.Process | None = None
    noted: Process | None = None
    keeper: asyncio.Task[None] | None = None


def leashed(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command such that it ends when this process does, however that happens."""
    return (sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command)


class Supervisor:
    """Runs parts as children of this process, each in a session of its own, so that Ctrl-C reaches only us."""

    def __init__(self, say: Say, changed: Callable[[], None], patience: Patience | None = None) -> None:
        self._say = say
        self._changed = changed
        self._patience = patience or Patience()
        self._kept: list[_Kept] = []
        self._stopping = False

    @property
    def begun(self) -> bool:
        """True once a part was told to start."""
        return bool(self._kept)

    @property
    def processes(self) -> tuple[Process, ...]:
        """What runs now."""
        return tuple(k.noted for k in self._kept if k.noted)

    async def start(self, part: Part) -> None:
        """Start a part and keep it; returns once it is ready for the first time, else raises `PartFailedError`."""
        kept = _Kept(part)
        self._kept.append(kept)
        kept.keeper = asyncio.create_task(self._keep(kept))
        ready = asyncio.create_task(kept.ready.wait())
        try:
            await asyncio.wait({kept.keeper, ready}, timeout=self._patience.ready, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if kept.ready.is_set():
            return
        if kept.keeper.done():
            kept.keeper.result()
        raise PartFailedError(
            f"{part.name} runs but was not ready within {self._patience.ready:g} s; its lines above may say why"
        )

    async def stop(self) -> None:
        """End every part, the higher stages first; nothing of ours is left when this returns."""
        self._stopping = True
        for stage in sorted({k.part.stage for k in self._kept}, reverse=True):
            await asyncio.gather(*(self._end(k) for k in self._kept if k.part.stage == stage))

    def kill(self) -> None:
        """Kill every part now: somebody pressed Ctrl-C twice."""
        for kept in self._kept:
            _signal(kept, signal.SIGKILL)

    async def _keep(self, kept: _Kept) -> None:
        wait, ends = self._patience.first_wait, 0
        clock = asyncio.get_running_loop().time
        while True:
            kept.ready_at = None
            code = await self._run_once(kept, again=ends > 0)
            if self._stopping:
                return
            ends += 1
            how = _how(code)
            if not kept.ready.is_set() and (code == REFUSED or ends >= self._patience.tries_before_ready):
                raise PartFailedError(f"{kept.part.name} {how} before it was ready; its lines above say why")
            if kept.ready_at is not None and clock() - kept.ready_at > self._patience.steady:
                wait = self._patience.first_wait
            self._say(kept.part.name, f"{how}; starting it again in {wait:g} s")
            await asyncio.sleep(wait)
            wait = min(wait * 2, self._patience.longest_wait)

    async def _run_once(self, kept: _Kept, *, again: bool) -> int:
        part = kept.part
        child = await asyncio.create_subprocess_exec(
            *leashed(part.command),
            env={**os.environ, **part.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        kept.child, kept.noted = child, process(part.name, child.pid)
        self._changed()
        watchers = [
            asyncio.create_task(self._copy(part.name, child.stdout)),
            asyncio.create_task(self._watch(kept, child.pid, again=again)),
        ]
        try:
            return await child.wait()
        finally:
            # What it started and left behind goes with it: it may hold a port or a file.
            _signal(kept, signal.SIGKILL)
            await asyncio.wait({watchers[0]}, timeout=0.5)
            for watcher in watchers:
                watcher.cancel()
            kept.child = kept.noted = None
            self._changed()

    async def _watch(self, kept: _Kept, pid: int, *, again: bool) -> None:
        while not await kept.part.ready(pid):  # noqa: ASYNC110 (another process; there is no event to wait for)
            await asyncio.sleep(self._patience.poll)
        kept.ready.set()
        kept.ready_at = asyncio.get_running_loop().time()
        if again and not self._stopping:
            self._say(kept.part.name, "runs again")

    async def _copy(self, name: str, output: asyncio.StreamReader | None) -> None:
        held = b""
        while output and (chunk := await output.read(65536)):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                self._say(name, line.decode(errors="replace"))
        if held:
            self._say(name, held.decode(errors="replace"))

    async def _end(self, kept: _Kept) -> None:
        if kept.keeper is None:
            return
        if kept.child is None:
            # Between two tries: nothing runs, only the wait for the next one.
            kept.keeper.cancel()
        _signal(kept, signal.SIGTERM)
        done, _ = await asyncio.wait({kept.keeper}, timeout=self._patience.term)
        if not done:
            self._say(kept.part.name, f"did not end within {self._patience.term:g} s; killing it")
            _signal(kept, signal.SIGKILL)
            await asyncio.wait({kept.keeper})
        with contextlib.suppress(asyncio.CancelledError, PartFailedError):
            kept.keeper.result()


def _signal(kept: _Kept, number: signal.Signals) -> None:
    if kept.child:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(kept.child.pid, number)


def _how(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
