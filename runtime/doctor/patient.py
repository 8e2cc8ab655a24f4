"""What the checks look at: a server as it is set up. What one check opens, it leaves here for those that need it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from temporalio.client import Client

from runtime.settings import Settings
from vault.database import Database
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys

T = TypeVar("T")
CLOSE_SECONDS = 2.0


@dataclass
class Patient:
    """The settings and the clock; then, once their checks have found nothing wrong, keys, database and Temporal."""

    settings: Settings
    clock: Callable[[], datetime]
    ring: KeyRing = field(init=False, repr=False)
    db: Database = field(init=False)
    client: Client = field(init=False)

    @property
    def keys(self) -> Keys:
        """The data keys of its vault."""
        return Keys(SqlKeyStore(self.db), self.ring, self.clock)

    async def close(self) -> None:
        """Let go of the database, within a moment."""
        if hasattr(self, "db"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.db.close()


async def aside(work: Callable[[], T]) -> T:
    """`work` in a thread that nobody waits for at the end: a file may lie on a disk that does not answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(answer: Callable[[], None]) -> None:
        # Whoever asked may have gone, and its loop with it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if done.cancelled() else answer())

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            failure = error
            tell(lambda: done.set_exception(failure))
        else:
            tell(lambda: done.set_result(result))

    threading.Thread(target=run, daemon=True).start()
    return await done
