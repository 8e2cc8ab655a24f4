"""Reads of a credential, as many as can be had: one API process asked alone, and both in turn."""

import asyncio
import time
from collections.abc import Sequence

from tests.chaos.readers import CREDENTIALS, JSON, asked_for
from tests.chaos.seeding import Seeded
from tests.chaos.stand import Stand
from tests.chaos.wire import Lines
from tests.topology.rates import Window, ticks_now, up_and_down

READERS = 32


async def read_rates(stand: Stand, seeded: Sequence[Seeded], seconds: float) -> list[Window]:
    """One window for each number of API processes on the way up and down. Raises if a read is not answered 200."""
    return [await _window(stand, seeded, count, seconds) for count in up_and_down(len(stand.apis))]


async def _window(stand: Stand, seeded: Sequence[Seeded], count: int, seconds: float) -> Window:
    bodies = [asked_for(one) for one in seeded]
    before, began = ticks_now(), time.monotonic()
    reading = (_read(stand, stand.apis[:count], number, bodies, began + seconds) for number in range(READERS))
    done = sum(await asyncio.gather(*reading))
    return Window(count, time.monotonic() - began, done, before.busy_until(ticks_now()))


async def _read(stand: Stand, apis: Sequence[str], number: int, bodies: Sequence[bytes], until: float) -> int:
    """One reader, who asks for the next as soon as it has an answer; how many it had."""
    lines, done = Lines(apis, first=number), 0
    headers = {**JSON, "authorization": f"Bearer {stand.where.secret_key}"}
    while time.monotonic() < until:
        body = bodies[(number + done) % len(bodies)]
        answer = await lines.ask("POST", CREDENTIALS, headers, body)
        assert answer.status == 200, answer.body
        done += 1
    lines.close()
    return done
