"""A second worker on a running stack, whose way to Temporal can be cut while the process itself goes on."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from runtime.parts import others
from runtime.ports import free_ports
from runtime.settings import PREFIX, Settings, load_settings, variable
from runtime.supervisor import Part, leashed
from tests.crash.stack import HoldingStack


class Way:
    """A loopback relay: what goes through it stops when it is cut, as in a network partition."""

    def __init__(self, to: int) -> None:
        self.port = free_ports(1)[0]
        self._to = to
        self._server: asyncio.Server
        self._relays: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)

    async def cut(self) -> None:
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._relay(reader, back)
        self._relay(there, writer)

    def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(_copy(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def second_worker(stack: HoldingStack, pauses: Path) -> AsyncIterator[tuple[HoldingStack, Way]]:
    """The stack as this worker's holder sees it (with pauses of its own), and the worker's way to Temporal."""
    settings = _settings(stack)
    way = Way(settings.temporal_port)
    await way.open()
    part = next(part for part in others(settings) if part.name == "worker")
    child = await _start(stack, part, {"temporal_port": str(way.port), "pause_dir": str(pauses)})
    seen = replace(stack, pauses=pauses)
    try:
        await _ready(part, child.pid)
        yield seen, way
    finally:
        stack.made = seen.made  # the next test's apps must not take the names of this one's
        child.kill()
        await child.wait()
        await way.cut()


def _settings(stack: HoldingStack) -> Settings:
    told = {name.removeprefix(PREFIX).lower(): value for name, value in stack.variables.items()}
    return load_settings(env="development", data_dir=stack.folder, **told)


async def _start(stack: HoldingStack, part: Part, own: dict[str, str]) -> asyncio.subprocess.Process:
    env = {**os.environ, **stack.variables, **part.env, **{variable(name): value for name, value in own.items()}}
    with (stack.folder / "second-worker.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(*leashed(part.command), env=env, stdout=log, stderr=log)


async def _ready(part: Part, pid: int) -> None:
    async with asyncio.timeout(90):
        while not await part.ready(pid):  # noqa: ASYNC110 - another process; there is no event to wait for
            await asyncio.sleep(0.1)
