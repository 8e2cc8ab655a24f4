"""What runs beside the stack: each part kept by a supervisor of its own, so that one can be taken away alone."""

import sys
import time
from dataclasses import replace
from typing import TextIO

import httpx

from runtime.parts import api_url, others
from runtime.processes import Process
from runtime.settings import Settings, variable
from runtime.supervisor import Part, Supervisor

PROVIDER = "provider"


class Beside:
    """Parts by name. What one prints goes to `log`."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._kept: dict[str, Supervisor] = {}

    async def add(self, part: Part) -> None:
        """Start it and keep it running. Raises `PartFailedError` if it is not ready in time."""
        self._kept[part.name] = Supervisor(self._say, lambda: None)
        await self._kept[part.name].start(part)

    async def remove(self, name: str) -> float:
        """Ask it to end (SIGTERM), and wait; answers the seconds it took. It is killed after `TERM_SECONDS`."""
        began = time.monotonic()
        await self._kept.pop(name).stop()
        return time.monotonic() - began

    def process(self, name: str) -> Process | None:
        """The process that runs a part now; none between two tries, and of a part that is not here."""
        kept = self._kept.get(name)
        return next(iter(kept.processes), None) if kept else None

    async def stop(self) -> None:
        """What came last goes first."""
        for name in reversed(list(self._kept)):
            await self.remove(name)

    def _say(self, name: str, line: str) -> None:
        print(name, line, file=self._log, flush=True)


def the_provider(origin: str, port: int) -> Part:
    async def ready(_pid: int) -> bool:
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                return (await client.get(origin + "/")).is_success
        except httpx.HTTPError:
            return False

    return Part(PROVIDER, (sys.executable, "-m", "tests.chaos.provider", str(port)), ready)


def another_worker(name: str, settings: Settings, variables: dict[str, str]) -> Part:
    worker = next(part for part in others(settings) if part.name == "worker")
    return replace(worker, name=name, env={**variables, **worker.env})


def another_api(name: str, settings: Settings, variables: dict[str, str], port: int) -> tuple[Part, str]:
    """The part, and where it listens."""
    elsewhere = settings.model_copy(update={"api_port": port})
    api = next(part for part in others(elsewhere) if part.name == "api")
    env = {**variables, **api.env, variable("api_port"): str(port)}
    return replace(api, name=name, env=env), api_url(elsewhere)
