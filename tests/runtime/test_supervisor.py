import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import PartFailedError
from runtime.processes import started
from runtime.supervisor import Part, Patience, Supervisor

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
IMPATIENT = Patience(first_wait=0.02, longest_wait=0.04, ready=10, term=0.3, poll=0.02)
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Heard:
    """What the supervisor said, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def say(self, name: str, line: str) -> None:
        self.lines.append(f"{name}: {line}")
        self._changed.set()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(10):
            while not any(text in line for line in self.lines):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def supervisor(heard: Heard) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(heard.say, lambda: None, IMPATIENT)
    yield supervisor
    await supervisor.stop()


async def at_once(_pid: int) -> bool:
    return True


async def never(_pid: int) -> bool:
    return False


def part(code: str, name: str = "part", stage: int = 1) -> Part:
    return Part(name, (sys.executable, "-I", "-S", "-c", code), at_once, stage=stage)


async def test_its_lines_are_told_under_its_name(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(part("import sys; print('out'); print('half', end='', file=sys.stderr); sys.exit(3)"))
    await heard.until("part: out")
    await heard.until("part: half")
    await heard.until("part: ended with code 3; starting it again in 0.02 s")


async def test_a_part_that_dies_is_started_again_and_that_is_said(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(part(SLEEP))
    (first,) = supervisor.processes
    os.kill(first.pid, signal.SIGKILL)
    await heard.until("part: was ended by SIGKILL; starting it again in 0.02 s")
    await heard.until("part: runs again")
    (second,) = supervisor.processes
    assert second.alive
    assert second.pid != first.pid


async def test_the_wait_grows_up_to_a_bound(supervisor: Supervisor, heard: Heard, eventually: Eventually) -> None:
    await supervisor.start(part("raise SystemExit(1)"))
    await heard.until("in 0.02 s")
    await heard.until("in 0.04 s")
    await eventually(lambda: sum("in 0.04 s" in line for line in heard.lines) > 1)
    assert not any("in 0.08 s" in line for line in heard.lines)


async def test_a_part_that_had_worked_is_started_again_at_once_however_often_it_is_killed(heard: Heard) -> None:
    supervisor = Supervisor(heard.say, lambda: None, replace(IMPATIENT, steady=0))
    try:
        await supervisor.start(part(SLEEP))
        for _ in range(3):
            heard.lines.clear()
            os.kill(supervisor.processes[0].pid, signal.SIGKILL)
            await heard.until("starting it again in 0.02 s")
            await heard.until("runs again")
    finally:
        await supervisor.stop()


async def test_a_part_that_does_not_get_ready_any_more_waits_longer_each_time(heard: Heard) -> None:
    once = iter([True])

    async def ready_once(_pid: int) -> bool:
        return next(once, False)

    supervisor = Supervisor(heard.say, lambda: None, replace(IMPATIENT, steady=0))
    try:
        await supervisor.start(replace(part("import time; time.sleep(0.2); raise SystemExit(1)"), ready=ready_once))
        await heard.until("in 0.02 s")
        await heard.until("in 0.04 s")
    finally:
        await supervisor.stop()


async def test_a_part_that_refuses_to_start_is_not_tried_again(supervisor: Supervisor, heard: Heard) -> None:
    refusing = Part("api", (sys.executable, "-c", "raise SystemExit(2)"), never)
    with pytest.raises(PartFailedError, match="api ended with code 2 before it was ready"):
        await supervisor.start(refusing)
    assert supervisor.processes == ()
    assert heard.lines == []


async def test_a_part_that_keeps_dying_before_it_is_ready_ends_the_start(supervisor: Supervisor) -> None:
    with pytest.raises(PartFailedError, match="before it was ready"):
        await supervisor.start(Part("api", (sys.executable, "-c", "raise SystemExit(1)"), never))


async def test_a_part_that_stays_silent_is_named(heard: Heard) -> None:
    supervisor = Supervisor(heard.say, lambda: None, Patience(ready=0.2, term=0.3))
    with pytest.raises(PartFailedError, match=r"part runs but was not ready within 0\.2 s"):
        await supervisor.start(Part("part", (sys.executable, "-c", SLEEP), never))
    await supervisor.stop()


async def test_stopping_ends_the_higher_stages_first_and_leaves_nothing(supervisor: Supervisor, heard: Heard) -> None:
    told = "import os, signal; signal.signal(15, lambda *_: (os.write(1, b'told\\n'), os._exit(0)))\n"
    await supervisor.start(part(told + SLEEP, "engine", stage=0))
    await supervisor.start(part(told + SLEEP, "worker"))
    await heard.until("engine: up")
    await heard.until("worker: up")
    pids = [p.pid for p in supervisor.processes]
    await supervisor.stop()
    assert [line for line in heard.lines if line.endswith("told")] == ["worker: told", "engine: told"]
    assert [started(pid) for pid in pids] == [None, None]
    assert supervisor.processes == ()


async def test_a_part_that_ignores_being_asked_is_killed_with_its_children(
    supervisor: Supervisor, heard: Heard, eventually: Eventually
) -> None:
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True)\n"
    await supervisor.start(part(child + DEAF))
    await heard.until("part: up")
    grandchild = next(int(line.split()[1]) for line in heard.lines if line.split()[1].isdigit())
    await supervisor.stop()
    assert "part: did not end within 0.3 s; killing it" in heard.lines
    await eventually(lambda: started(grandchild) is None)


async def test_stopping_between_two_tries_does_not_wait_for_the_next(heard: Heard) -> None:
    supervisor = Supervisor(heard.say, lambda: None, Patience(first_wait=60, term=1))
    await supervisor.start(part("raise SystemExit(1)"))
    await heard.until("starting it again in 60 s")
    async with asyncio.timeout(5):
        await supervisor.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
async def test_parts_end_when_the_supervisor_is_killed_outright(eventually: Eventually) -> None:
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from runtime.supervisor import Part, Supervisor

async def ready(pid):
    return True

async def main():
    up = asyncio.Event()
    supervisor = Supervisor(lambda *_: up.set(), lambda: None)
    await supervisor.start(Part("part", (sys.executable, "-c", {SLEEP!r}), ready))
    await up.wait()
    print(supervisor.processes[0].pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert runner.stdout is not None
    orphan = int(await runner.stdout.readline())
    assert started(orphan) is not None
    runner.kill()
    await runner.wait()
    await eventually(lambda: started(orphan) is None)
