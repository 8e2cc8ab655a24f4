"""Holds a process at a named point for as long as a file says so: how fault tests crash it at that very place."""

import asyncio
from contextlib import suppress
from pathlib import Path

from domain.points import Point

LOOK_SECONDS = 0.05
REACHED = ".reached"


class Pauses:
    """Development only. A file `<point>@<life id>` asks for one pause; it is renamed when that point is reached.

    The process goes on once the renamed file is gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, point: Point, life_id: str) -> None:
        asked = self._folder / f"{point}@{life_id}"
        reached = asked.with_name(asked.name + REACHED)
        with suppress(FileNotFoundError):
            asked.rename(reached)
            while reached.exists():  # noqa: ASYNC110 - another process takes it away
                await asyncio.sleep(LOOK_SECONDS)
