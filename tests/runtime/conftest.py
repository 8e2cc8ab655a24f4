"""Each test starts from an empty environment and a folder of its own."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from runtime.settings import PREFIX, Settings, load_settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith((PREFIX, "TEMPORAL_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command sends the process's logs elsewhere; the next test's are its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands in this process that set its logs up: they are the test's again afterwards."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)


@pytest.fixture
def settings_with(tmp_path: Path) -> Callable[..., Settings]:
    """Builds settings of a folder of the test's own."""

    def build(**given: Any) -> Settings:
        return load_settings(**{"data_dir": tmp_path / "data", **given})

    return build


Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Waits until a fact about another process or task holds; thirty seconds at most, for a busy machine."""

    async def wait(fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not fact():  # noqa: ASYNC110 (another process sets no event of ours)
                await asyncio.sleep(0.01)

    return wait
