"""`deploy/proxy/Caddyfile`, run by a real Caddy before real API processes, which it finds by name as in Compose."""

import asyncio
import base64
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from runtime.ports import free_port
from runtime.supervisor import leashed
from tests.deploy.names import Names, serving_names
from tests.deploy.reading import ROOT, SERVICES

CADDY = shutil.which("caddy")
CADDYFILE = ROOT / "deploy" / "proxy" / "Caddyfile"
REPLICAS = ["127.0.0.2", "127.0.0.3"]
"""Two addresses and one port, as containers have them."""
FOUND_WITHIN = 30
"""Seconds; the file says five, a busy machine takes longer."""
ONE_MEGABYTE = 1_000_000

pytestmark = [
    pytest.mark.skipif(CADDY is None, reason="needs Caddy (Debian has it as `caddy`)"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs more than one loopback address"),
]


@pytest.mark.parametrize("site", [SERVICES["proxy"]["environment"]["SITE_ADDRESS"], "auth.example.com"])
def test_caddy_takes_it_with_and_without_a_name(site: str, tmp_path: Path) -> None:
    env = {**os.environ, "SITE_ADDRESS": site.removeprefix("${SITE_ADDRESS:-").removesuffix("}"), "HOME": str(tmp_path)}
    line = [str(CADDY), "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    ended = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Valid configuration" in ended.stdout + ended.stderr
    assert "warn" not in ended.stderr.lower()


@dataclass
class Row:
    """The proxy, the name server it asks, and the API processes by address."""

    folder: Path
    names: Names
    api_port: int
    client: httpx.AsyncClient
    env: dict[str, str]
    apis: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, address: str) -> None:
        """A replica that serves when this returns; whether its name leads there is another matter."""
        with self._log(address).open("ab") as log:
            self.apis[address] = await asyncio.create_subprocess_exec(
                *leashed((sys.executable, "-m", "runtime.cli", "api")),
                env={**self.env, "AUTHPIPE_API_HOST": address},
                stdout=log,
                stderr=log,
            )
        await until(lambda: answers(f"http://{address}:{self.api_port}/health/live"))

    async def end(self, address: str) -> None:
        child = self.apis.pop(address)
        child.kill()
        await child.wait()

    def _log(self, address: str) -> Path:
        return self.folder / f"{address}.log"

    async def ask(self, count: int) -> list[int]:
        """So many reads, one after the other, each on a connection that may be used again."""
        return [(await self.client.post("/api/connections/search", json={})).status_code for _ in range(count)]

    async def shares(self, count: int) -> Counter[str]:
        """Which replica answered how many of so many."""
        before = self._answered()
        assert await self.ask(count) == [200] * count
        return self._answered() - before

    def _answered(self) -> Counter[str]:
        line = "POST /api/connections/search"
        return Counter({address: self._log(address).read_text().count(line) for address in self.apis})


async def until(fact: Callable[[], object], seconds: float = FOUND_WITHIN) -> None:
    async with asyncio.timeout(seconds):
        while not await fact():  # type: ignore[misc]
            await asyncio.sleep(0.1)


async def answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(url)).is_success
    except httpx.TransportError:
        return False
