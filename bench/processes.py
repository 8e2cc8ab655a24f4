"""Processes that a part starts beside the stack, and what the system says that any process costs."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from runtime.processes import started
from runtime.settings import PREFIX
from runtime.supervisor import leashed

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
READY_SECONDS = 60.0
END_SECONDS = 10.0


@asynccontextmanager
async def running(command: tuple[str, ...], log: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with this block, and with us. What it says goes to a file, which costs us nothing."""
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            *leashed(command), env=own_environment() | environment, stdout=output, stderr=output
        )
    try:
        yield child
    finally:
        await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), END_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()


def own_environment() -> dict[str, str]:
    """Ours, without settings of the product that lie about."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


async def answers(url: str, log: Path) -> None:
    """Wait until something serves there. Raises AssertionError with its last lines if nothing does in time."""
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    async with httpx.AsyncClient(timeout=2) as client:
        while True:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.HTTPError:
                pass
            assert asyncio.get_running_loop().time() < deadline, log.read_text(errors="replace")[-2000:]
            await asyncio.sleep(0.1)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that they and children of theirs that ended took so far (fields 14 to 17 of proc(5)).

    One that is gone and whose parent is not asked of counts nothing.
    """
    total = 0
    for pid in pids:
        if started(pid) is not None:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def resident_bytes(pid: int) -> int:
    """Memory that it holds just now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def family(pid: int) -> list[int]:
    """The process and all that it started, as far as they live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def differences(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What each has grown by."""
    return {name: after[name] - before[name] for name in after}
