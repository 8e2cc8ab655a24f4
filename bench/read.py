"""What a read of a credential costs beside the floor (`bench.floor`): the same server, one select, one open.

Both serve at the same time and are asked in turn, again and again: the machine's moods meet both. No engine runs at
all: a read needs none (law 5).
"""

import asyncio
import base64
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench import floor
from bench.load import Answered, load, post
from bench.processes import answers, running
from bench.report import Goal, Report, Table, median, spread
from bench.seeding import PROVIDER, WORKSPACE, Tokens, sow, users
from bench.sizes import Sizes
from bench.stand import POSTGRES, SQLITE, sealer_of
from runtime.ports import free_ports
from runtime.settings import Settings, load_settings, variable
from runtime.vault_setup import add_api_key, clock
from tests.crash.postgres import own_postgres
from vault import configs
from vault.database import Database, migrate

AT_ONCE = (1, 32)
GOAL = 0.7
FLOOR, PRODUCT = "floor", "credential"
LIVE = "/health/live"


@dataclass(frozen=True, slots=True)
class Server:
    """Where one is asked, and every request it may be asked."""

    port: int
    requests: Sequence[bytes]


async def measure(sizes: Sizes) -> Report:
    rates: dict[tuple[str, int], Mapping[str, list[Answered]]] = {}
    for vault in (SQLITE, POSTGRES):
        async with _servers(vault, sizes.readers) as servers:
            for at_once in AT_ONCE:
                rates[vault, at_once] = await _in_turn(servers, sizes, at_once)
    return _report(rates)


async def _in_turn(servers: Mapping[str, Server], sizes: Sizes, at_once: int) -> Mapping[str, list[Answered]]:
    answered: dict[str, list[Answered]] = {name: [] for name in servers}
    for number in range(sizes.read_rounds + 1):
        for name, server in servers.items():
            count = sizes.reads if at_once > 1 else sizes.reads // 2
            drawn = random.choices(server.requests, k=count)  # noqa: S311
            once = await load(server.port, drawn, at_once)
            if number:  # the first round warms up
                answered[name].append(once)
    return answered


def _report(rates: Mapping[tuple[str, int], Mapping[str, list[Answered]]]) -> Report:
    rows, goals = [], []
    for (vault, at_once), answered in rates.items():
        ratios = [p.per_second / f.per_second for p, f in zip(answered[PRODUCT], answered[FLOOR], strict=True)]
        for name, each in answered.items():
            per_second = [one.per_second for one in each]
            ratio = f"{median(ratios):.2f}" if name == PRODUCT else "1"
            p50, p99 = (f"{median(one.percentile(share) for one in each):.2f}" for share in (0.5, 0.99))
            rows.append(
                (
                    f"{vault}, {at_once} at once: {name}",
                    f"{median(per_second):,.0f}",
                    spread(per_second),
                    p50,
                    p99,
                    ratio,
                )
            )
        goals.append(Goal(f"reads of the floor, {vault}, {at_once} at once", median(ratios), GOAL))
    columns = ("", "reads/s", "from, to", "p50 ms", "p99 ms", "of the floor")
    curves = {
        f"{name}, {vault}, {at_once} at once": [(0, median(one.per_second for one in each))]
        for (vault, at_once), answered in rates.items()
        for name, each in answered.items()
    }
    return Report("read", [Table("Reading a credential over HTTP, authentication on", columns, rows)], goals, curves)


@asynccontextmanager
async def _servers(vault: str, count: int) -> AsyncIterator[Mapping[str, Server]]:
    """The floor and the product's API, each in a process of its own."""
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="authpipe-bench-")))
        product_url, floor_url = f"sqlite:///{folder / 'authpipe.db'}", str(folder / "floor.db")
        if vault == POSTGRES:
            postgres = await opened.enter_async_context(own_postgres())
            postgres.sql("CREATE DATABASE floor")
            product_url = postgres.vault
            floor_url = postgres.url("floor").replace("+asyncpg", "")
        yield {
            FLOOR: await opened.enter_async_context(_floor(floor_url, count, folder)),
            PRODUCT: await opened.enter_async_context(_product(product_url, count, folder)),
        }


@asynccontextmanager
async def _floor(url: str, count: int, folder: Path) -> AsyncIterator[Server]:
    (port,) = free_ports(1)
    log = folder / "floor.log"
    async with running((sys.executable, "-m", "bench.floor", url, str(port), str(count)), log):
        await answers(f"http://127.0.0.1:{port}{LIVE}", log)
        yield Server(port, [post("/read", {"id": floor.name(number)}) for number in range(count)])


@asynccontextmanager
async def _product(url: str, count: int, folder: Path) -> AsyncIterator[Server]:
    """`authpipe api` as in production, with its log and its authentication."""
    (port,) = free_ports(1)
    told = {
        "database_url": url,
        "data_dir": str(folder),
        "api_port": str(port),
        "key_encryption_key": f"bench:{base64.b64encode(os.urandom(32)).decode()}",
    }
    bodies, key = await _filled(load_settings(**told), count)
    log = folder / "api.log"
    env = {variable(name): value for name, value in told.items()}
    async with running((sys.executable, "-m", "runtime.cli", "api"), log, **env):
        await answers(f"http://127.0.0.1:{port}{LIVE}", log)
        yield Server(port, [post("/api/credentials", body, authorization=f"Bearer {key}") for body in bodies])


async def _filled(settings: Settings, count: int) -> tuple[list[dict[str, str]], str]:
    """A vault with so many connections; answers what reads each, and a secret key."""
    await asyncio.to_thread(migrate, settings.database_url)
    _, key = await add_api_key(settings, WORKSPACE, "bench", "secret")
    db, now = Database.open(settings.database_url), clock()
    try:
        sealer = sealer_of(settings, db)
        new = configs.NewConfig(
            provider_id=PROVIDER,
            client_id="bench",
            client_secret="bench-secret",
            oauth_redirect_url="https://auth.example.com/oauth/callback",
            attachment="user",
            enabled=True,
        )
        config = await configs.create(db, sealer, WORKSPACE, new, now)
        sown = await sow(db, sealer, config.id, count, Tokens(now, now + timedelta(hours=1)))
        return users(sown, config.id), key
    finally:
        await db.close()
