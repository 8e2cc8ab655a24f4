"""The demo's own: the stack it walks on, either the one that runs here or one of its own for as long as it takes."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtime.dev_keys import read_dev_keys
from runtime.errors import PartFailedError
from runtime.ports import free_ports
from runtime.processes import Stack, running_stack
from runtime.settings import PREFIX, Settings, variable
from runtime.supervisor import leashed

PORTS = ("api_port", "temporal_port", "temporal_ui_port", "simulator_port")
READY_SECONDS = 90
END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DemoStack:
    """Where everything is, and the key to it."""

    api: str
    simulator: str
    temporal_ui: str
    secret_key: str = field(repr=False)
    own: bool


@asynccontextmanager
async def demo_stack(settings: Settings) -> AsyncIterator[DemoStack]:
    """The running stack of this folder; if none runs, a new one on free ports in a temporary folder."""
    running = running_stack(settings.data_dir)
    if running is not None:
        yield _described(running, settings.data_dir, own=False)
        return
    with tempfile.TemporaryDirectory(prefix="authpipe-demo-") as folder:
        async with own_stack(Path(folder)) as stack:
            yield stack


@asynccontextmanager
async def own_stack(folder: Path, **environment: str) -> AsyncIterator[DemoStack]:
    """`authpipe dev` as a child, in `folder` and on free ports; ended, and its parts with it, at the end."""
    log = folder / "dev.log"
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *leashed((sys.executable, "-m", "runtime.cli", "dev")),
            env=_environment(folder) | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _described(await _ready(child, folder, log), folder, own=True)
    finally:
        await _end(child)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ports = {variable(name): str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    return {**kept, **ports, variable("data_dir"): str(folder)}


async def _ready(child: asyncio.subprocess.Process, folder: Path, log: Path) -> Stack:
    for _ in range(READY_SECONDS * 10):
        stack = running_stack(folder)
        if stack is not None:
            return stack
        if child.returncode is not None:
            break
        await asyncio.sleep(0.1)
    raise PartFailedError(f"a stack for the demo did not start; its last lines:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(child.wait(), END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _described(stack: Stack, folder: Path, *, own: bool) -> DemoStack:
    keys = read_dev_keys(folder)
    if keys is None:
        raise PartFailedError(f"the running stack has no readable keys in {folder}; stop it and start it again")
    return DemoStack(stack.urls["api"], stack.urls["simulator"], stack.urls["temporal_ui"], keys.secret, own)
