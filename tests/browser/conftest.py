"""One stack of real processes, one Chromium and one builder's web server for all walks; a fresh context for each."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page

from runtime.demo_stack import DemoStack, own_stack
from runtime.dev_keys import read_dev_keys
from tests.browser.builder import Product, Site, builders_site, new_product
from tests.browser.chromium import chromium, chromium_path
from tests.browser.watching import Watch

NO_BROWSER = "no Chromium is installed here (looked for chromium, chromium-browser, google-chrome)"
DEMO_APP = "authpipe-dev"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if "tests/browser/" in item.path.as_posix()]
    for item in here:
        if chromium_path() is None:
            item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


@dataclass
class Stack:
    """The running stack as these tests use it."""

    where: DemoStack
    folder: Path
    api: httpx.AsyncClient
    simulator: httpx.AsyncClient
    site: Site
    products: list[Product] = field(default_factory=list)

    @property
    def pages(self) -> str:
        """The origin of the hosted pages."""
        return self.where.api.replace("127.0.0.1", "localhost")

    @property
    def publishable_key(self) -> str:
        keys = read_dev_keys(self.folder)
        assert keys is not None
        return keys.publishable

    def expire(self, session_id: str) -> None:
        """Put the end of a session into the past, as an hour of waiting would."""
        with sqlite3.connect(self.folder / "authpipe.db", timeout=20) as vault:
            changed = vault.execute(
                "UPDATE auth_session SET expires_at = '2026-01-01 00:00:00.000000' WHERE id = ?", (session_id,)
            )
        assert changed.rowcount == 1
        vault.close()

    async def product(self, **config: Any) -> Product:
        made = await new_product(self.where, self.api, self.simulator, self.site, **config)
        self.products.append(made)
        return made

    async def grants(self, client_id: str, **more: str) -> list[dict[str, Any]]:
        found = await self.simulator.get("/_admin/grants", params={"client_id": client_id, **more})
        grants: list[dict[str, Any]] = found.json()
        return grants

    async def fingerprints(self, client_ids: list[str]) -> set[str]:
        """SHA-256 of every code and token that the provider gave these apps."""
        found: set[str] = set()
        for client_id in client_ids:
            for grant in await self.grants(client_id):
                report = (await self.simulator.get(f"/_admin/grants/{grant['id']}")).json()
                found.update(token["sha256"] for token in report["tokens"])
        return found


@dataclass
class Visitor:
    """A person's browser."""

    context: BrowserContext
    watch: Watch

    async def open(self, url: str) -> Page:
        page = await self.context.new_page()
        await page.goto(url)
        return page


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    async with own_stack(folder) as where, builders_site() as site:
        headers = {"authorization": f"Bearer {where.secret_key}"}
        async with (
            httpx.AsyncClient(base_url=where.api, headers=headers, timeout=30) as api,
            httpx.AsyncClient(base_url=where.simulator, timeout=30) as simulator,
        ):
            yield Stack(where, folder, api, simulator, site)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium_path()
    assert path is not None
    async with chromium(path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_products_of_earlier_tests(stack: Stack) -> None:
    stack.products.clear()


@pytest.fixture
async def new_visitor(stack: Stack, browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """`await new_visitor(java_script_enabled=False)`: one more browser. All are checked at the end of the test."""
    visitors: list[Visitor] = []

    async def make(**options: Any) -> Visitor:
        context = await browser.new_context(**options)
        context.set_default_timeout(20_000)
        own = {stack.pages, stack.where.api, stack.where.simulator, stack.site.origin}
        watch = Watch(own, backends={stack.site.origin, f"{stack.pages}/demo/api/session-tokens"})
        watch.attach(context)
        visitors.append(Visitor(context, watch))
        return visitors[-1]

    yield make
    fingerprints = await stack.fingerprints([DEMO_APP, *(product.client_id for product in stack.products)])
    for visitor in visitors:
        await visitor.watch.settle(visitor.context.pages)
        await visitor.context.close()
    for visitor in visitors:
        visitor.watch.check(fingerprints)


@pytest.fixture
async def visitor(new_visitor: Callable[..., Awaitable[Visitor]]) -> Visitor:
    return await new_visitor()


@pytest.fixture
async def product(stack: Stack) -> Product:
    return await stack.product()


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Poll for a fact; what it answers first that is true."""

    async def poll(fact: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            if found := await fact():
                return found
            assert time.monotonic() < deadline, "the fact did not come about in time"
            await asyncio.sleep(0.1)

    return poll
