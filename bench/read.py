"""`make bench`: what a read of a credential costs, as ratios in one run.

Starts a stack of its own, connects one tenant, and asks three routes in turn, again and again: one that does nothing,
the credential, and the credential while the engine stands still. Interleaved: the machine's moods meet all three.
"""

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from runtime.demo_setup import CALLBACK_PATH, PROVIDER
from runtime.demo_stack import DemoStack, own_stack
from runtime.demo_visitor import Visitor
from runtime.processes import read_record

ROUNDS = 5
REQUESTS = 200
READERS = 8


async def rate(ask: Callable[[], Awaitable[httpx.Response]]) -> float:
    """Requests a second, all of them answered with 200."""
    left = REQUESTS

    async def reader() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            (await ask()).raise_for_status()

    began = time.perf_counter()
    await asyncio.gather(*(reader() for _ in range(READERS)))
    return REQUESTS / (time.perf_counter() - began)


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="authpipe-bench-") as name:
        async with own_stack(Path(name)) as stack:
            headers = {"authorization": f"Bearer {stack.secret_key}"}
            async with httpx.AsyncClient(base_url=stack.api, headers=headers, timeout=30) as api:
                whose = await connect(stack)
                await measure(api, whose, engine_of(Path(name)))


async def connect(stack: DemoStack) -> dict[str, str]:
    """Install for one tenant; answers the body that reads its credential."""
    whose = {"provider": PROVIDER, "tenant_id": "bench"}
    callback = stack.api.replace("127.0.0.1", "localhost") + CALLBACK_PATH
    headers = {"authorization": f"Bearer {stack.secret_key}"}
    visitor = Visitor()
    try:
        async with httpx.AsyncClient(base_url=stack.api, headers=headers, timeout=30) as api:
            opened = await api.post("/oauth/installs", json={**whose, "redirect_url": callback})
        await visitor.walk(opened.json()["authorization_url"], "admin", ["Acme Engineering"])
    finally:
        await visitor.close()
    return whose


def engine_of(folder: Path) -> int:
    record = read_record(folder)
    assert record is not None
    return next(part.pid for part in record.parts if part.name == "temporal")


async def measure(api: httpx.AsyncClient, whose: dict[str, str], engine: int) -> None:
    def nothing() -> Awaitable[httpx.Response]:
        return api.get("/health/live")

    def read() -> Awaitable[httpx.Response]:
        return api.post("/api/credentials", json=whose)

    rates: dict[str, list[float]] = {"nothing": [], "credential": [], "credential, engine stopped": []}
    for _ in range(ROUNDS):
        rates["nothing"].append(await rate(nothing))
        rates["credential"].append(await rate(read))
        os.kill(engine, signal.SIGSTOP)
        try:
            rates["credential, engine stopped"].append(await rate(read))
        finally:
            os.kill(engine, signal.SIGCONT)
    base = statistics.median(rates["nothing"])
    for name, measured in rates.items():
        median = statistics.median(measured)
        print(
            f"{name:28} {median:7.0f}/s  {median / base:5.2f} of nothing  ({min(measured):.0f} to {max(measured):.0f})"
        )


if __name__ == "__main__":
    asyncio.run(main())
