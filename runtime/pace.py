"""How fast the engine is spoken to: evenly, so that neither it nor a provider meets a herd."""

import asyncio

STARTS_PER_SECOND = 50.0


class Pace:
    """At most `per_second` turns in a second, counted from when each was really given: a lag is not caught up."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for the next turn."""
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + self._gap
