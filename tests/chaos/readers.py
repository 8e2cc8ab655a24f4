"""Readers: each fetches a credential of some connection and uses it at the provider at once."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from tests.chaos.counting import Fetch, Tally, served, unserved
from tests.chaos.plan import NONE
from tests.chaos.seeding import Seeded
from tests.chaos.stand import Stand
from tests.chaos.wire import Answer, Line, Lines

READERS = 600
"""So many that those who wait for a refresh do not keep the others from reading."""
PER_SECOND = 200
"""Fetches, at most: who waits for a refresh or for an API that is down asks for nothing meanwhile."""
MOST_BEHIND = 2.0
"""Seconds of turns that are caught up after a pause; more would be a herd."""
AFTER_AN_ERROR = 0.5
MOST_LONGER = 1.5
WITHIN = 40.0
JSON = {"content-type": "application/json"}
CREDENTIALS = "/api/credentials"


def asked_for(whose: Seeded) -> bytes:
    """The body of a request for its credential."""
    body = {"provider": whose.provider, "tenant_id": whose.tenant, "user_id": whose.user}
    return json.dumps({**body, "provider_config_id": whose.config_id}).encode()


class Turns:
    """Gives turns at an even rate, and catches up a little."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = time.monotonic()

    async def turn(self) -> None:
        now = time.monotonic()
        self._next = max(self._next + self._gap, now - MOST_BEHIND)
        await asyncio.sleep(max(0.0, self._next - now))


@dataclass
class Reading:
    """What readers share."""

    stand: Stand
    seeded: Sequence[Seeded]
    revoked: dict[str, float]
    """Connections whose grant the test took away, by life; it grows while they read."""
    rng: Random
    readers: int = READERS
    per_second: float = PER_SECOND
    tally: Tally = field(default_factory=Tally)
    took: list[float] = field(default_factory=list)
    """Seconds of each answered fetch."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nobody is to read any more."""

    async def read_for(self, seconds: float, fetches: int = 0) -> None:
        """So long, and on until so many fetches were made; but half as long again at most."""
        turns, began = Turns(self.per_second), time.monotonic()
        readers = [asyncio.create_task(Reader(self, number).read(turns)) for number in range(self.readers)]
        await asyncio.sleep(seconds)
        while self.tally.fetches < fetches and time.monotonic() - began < seconds * MOST_LONGER:  # noqa: ASYNC110
            await asyncio.sleep(1)
        self.over.set()
        await asyncio.gather(*readers)


class Reader:
    """One of them, with connections of its own; of several API processes it asks one after the other."""

    def __init__(self, shared: Reading, number: int) -> None:
        self._shared = shared
        where = shared.stand.where
        self._api, self._provider = Lines(shared.stand.apis, first=number), Line(where.simulator)
        self._headers = {**JSON, "authorization": f"Bearer {where.secret_key}"}

    async def read(self, turns: Turns) -> None:
        while True:
            await turns.turn()
            if self._shared.over.is_set():
                break
            found = await self._fetch(self._shared.rng.choice(self._shared.seeded))
            self._shared.tally.kinds[found] += 1
            if found is Fetch.NO_CONNECTION:
                await asyncio.sleep(AFTER_AN_ERROR)
        self._api.close()
        self._provider.close()

    async def _fetch(self, whose: Seeded) -> Fetch:
        began = time.monotonic()
        try:
            answer = await self._api.ask("POST", CREDENTIALS, self._headers, asked_for(whose), WITHIN)
        except OSError:
            return Fetch.NO_CONNECTION
        self._shared.took.append(time.monotonic() - began)
        if answer.status != 200:
            return self._not_served(answer)
        return await self._use(whose, json.loads(answer.body))

    def _not_served(self, answer: Answer) -> Fetch:
        code = _code(answer)
        found = unserved(answer.status, code)
        if found is Fetch.UNAVAILABLE:
            self._shared.tally.unavailable[code] += 1
        if found is Fetch.OTHER:
            self._shared.tally.others[f"{answer.status} {code}".strip()] += 1
        return found

    async def _use(self, whose: Seeded, credential: dict[str, str]) -> Fetch:
        path = "/plain/whoami" if whose.provider == NONE else f"/ex/jira/{whose.site}/rest/api/3/search"
        headers = {"authorization": f"Bearer {credential['credential']}"}
        try:
            status = (await self._provider.ask("GET", path, headers)).status
        except OSError:
            status = None
        found = served(status, revoked=whose.life_id in self._shared.revoked)
        if found is Fetch.REFUSED and datetime.fromisoformat(credential["expires_at"]).timestamp() <= time.time():
            self._shared.tally.stale += 1
        return found


def _code(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body)["code"])
    except (ValueError, KeyError, TypeError):
        return ""
