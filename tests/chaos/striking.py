"""Strikes the blows of a plan when their time comes, each in a line of its own, and mends what lasts."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from tests.chaos.plan import FAULTS, WINDOW, Blow, Kind
from tests.chaos.seeding import Seeded
from tests.chaos.stand import SECOND, SECOND_API, THIRD, TIMEOUT_SECONDS, Stand

PARTS = {
    Kind.WORKER: "worker",
    Kind.SECOND: SECOND,
    Kind.THIRD: THIRD,
    Kind.API: "api",
    Kind.SECOND_API: SECOND_API,
    Kind.ENGINE: "temporal",
}
TOKEN_ENDPOINT = {WINDOW: "token", "plain": "plain.token"}
OUT_OF_ORDER = {WINDOW: ("token", "accessible-resources", "myself"), "plain": ("plain.token",)}
"""What an outage takes down. What readers use their tokens on goes on, or nothing could be said about those."""
FAULT_BODIES: dict[Kind, dict[str, Any]] = {
    Kind.UNAVAILABLE: {"kind": "status", "status": 503},
    Kind.TOO_MANY: {"kind": "status", "status": 429},
    Kind.HTML: {"kind": "html"},
    Kind.LATE: {"kind": "delay", "seconds": TIMEOUT_SECONDS + 2},
    Kind.CUT_BEFORE: {"kind": "drop_before"},
    Kind.CUT_AFTER: {"kind": "drop_after"},
    Kind.TRUNCATED: {"kind": "truncated"},
}
MOMENT = 5.0
"""Seconds after which a fault that met too few is taken back. Left there it would wait for the scouts of a hold, one
after the other, and make it last as no provider would."""
LONGER = 30.0
"""Seconds that a client secret stays wrong beyond its time where nobody has asked yet."""
REVOCATIONS = (15.0, 30.0)
"""Seconds from one grant that the test takes away to the next."""


@dataclass
class Struck:
    """What was done, with wall-clock seconds, for the judges."""

    began: float = field(default_factory=time.time)
    blows: list[Blow] = field(default_factory=list)
    """With `at` as seconds since the epoch."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    secrets: Counter[str] = field(default_factory=Counter)
    """How often each provider's client secret was wrong when somebody asked."""
    revoked: dict[str, float] = field(default_factory=dict)
    """When the test took a connection's grant away, by life; those that share it are among them."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nothing more is to begin."""

    async def comes(self, at: float) -> bool:
        """Wait until so many seconds after the beginning; False if the run is over before."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), max(0.0, self.began + at - time.time()))
        return not self.over.is_set()

    def say(self, what: str) -> None:
        print(f"{time.time() - self.began:7.1f} s  {what}", flush=True)


class Striker:
    """One run of blows on one stand."""

    def __init__(self, stand: Stand, struck: Struck) -> None:
        self._stand = stand
        self._struck = struck
        self._mending: set[asyncio.Task[None]] = set()
        self._faults: Counter[str] = Counter()

    async def strike_all(self, blows: Sequence[Blow]) -> None:
        for blow in blows:
            if not await self._struck.comes(blow.at):
                break
            task = asyncio.create_task(self._strike(blow))
            self._mending.add(task)
        await asyncio.gather(*self._mending)

    async def mend(self) -> None:
        """Nothing is to befall anybody any more."""
        await self._stand.admin("DELETE", "faults")

    async def _strike(self, blow: Blow) -> None:
        if blow.kind in PARTS and not self._stand.kill(PARTS[blow.kind]):
            self._struck.say(f"{blow} (was down already)")
            return
        self._struck.say(str(blow))
        self._struck.kinds[blow.kind] += 1
        self._struck.blows.append(replace(blow, at=time.time()))
        if blow.kind is Kind.DATABASE:
            await self._stop_database(blow)
        elif blow.kind is Kind.OUTAGE:
            await self._outage(blow)
        elif blow.kind is Kind.WRONG_SECRET:
            await self._wrong_secret(blow)
        elif blow.kind in FAULTS:
            await self._fault(blow)

    async def _stop_database(self, blow: Blow) -> None:
        await self._stand.postgres.stop()
        await asyncio.sleep(blow.seconds)
        await self._stand.postgres.start()

    async def _fault(self, blow: Blow) -> None:
        headers = {"Retry-After": str(round(blow.seconds))} if blow.kind is Kind.TOO_MANY else {}
        asked = {"endpoint": TOKEN_ENDPOINT[blow.provider], "grant_type": "refresh_token", "times": blow.times}
        await self._stand.admin("POST", "faults", headers=headers, **asked, **FAULT_BODIES[blow.kind])
        self._faults[blow.provider] += 1
        mine = self._faults[blow.provider]
        await asyncio.sleep(MOMENT)
        if mine == self._faults[blow.provider]:
            await self._stand.admin("DELETE", f"faults?endpoint={TOKEN_ENDPOINT[blow.provider]}")

    async def _outage(self, blow: Blow) -> None:
        for endpoint in OUT_OF_ORDER[blow.provider]:
            await self._stand.admin("POST", "faults", endpoint=endpoint, kind="status", status=503, times=None)
        await asyncio.sleep(blow.seconds)
        for endpoint in OUT_OF_ORDER[blow.provider]:
            await self._stand.admin("DELETE", f"faults?endpoint={endpoint}")
        self._struck.say(f"{blow.provider} is back")

    async def _wrong_secret(self, blow: Blow) -> None:
        app = self._stand.apps[blow.provider]
        rotate = f"apps/{app.client_id}/rotate-secret"
        # A fault that still waits for its refresh would hide the refusal from it.
        await self._stand.admin("DELETE", f"faults?endpoint={TOKEN_ENDPOINT[blow.provider]}")
        # Counted before: whoever meets it first may be the only one until the hold is over.
        asked = await self._asked(blow.provider)
        made = await self._stand.admin("POST", rotate)
        await asyncio.sleep(blow.seconds)
        if await self._asked_again(blow.provider, asked):
            self._struck.secrets[blow.provider] += 1
        else:
            self._struck.say(f"nobody asked {blow.provider} meanwhile")
        if blow.patched:
            app.client_secret = made["client_secret"]
            await self._set_secret(app.config_id, app.client_secret)
        else:
            await self._stand.admin("POST", rotate, client_secret=app.client_secret)
        self._struck.say(f"{blow.provider} has the right client secret again")

    async def _asked(self, provider: str) -> int:
        """How often its token endpoint was."""
        return int((await self._stand.admin("GET", "counters"))[TOKEN_ENDPOINT[provider]])

    async def _asked_again(self, provider: str, before: int) -> bool:
        """Whether anybody met the wrong secret, if one waits a little; by the provider's word, not by ours."""
        with suppress(AssertionError):
            await self._stand.until(partial(self._more, provider, before), LONGER)
        return await self._more(provider, before)

    async def _more(self, provider: str, before: int) -> bool:
        return await self._asked(provider) > before

    async def _set_secret(self, config_id: str, secret: str) -> None:
        async def taken() -> bool:
            body = {"client_secret": secret}
            return (await self._stand.api.patch(f"/api/provider-configs/{config_id}", json=body)).is_success

        await self._stand.until(taken, 60)


async def revoke_some(stand: Stand, struck: Struck, seeded: Sequence[Seeded], rng: Random) -> None:
    """Take a grant away at its provider now and then, as its user would."""
    by_grant: dict[str, list[Seeded]] = {}
    for connection in seeded:
        by_grant.setdefault(connection.grant, []).append(connection)
    grants = list(by_grant)
    rng.shuffle(grants)
    at = rng.uniform(*REVOCATIONS)
    while grants and await struck.comes(at):
        grant = grants.pop()
        for connection in by_grant[grant]:
            struck.revoked[connection.life_id] = time.time()
        await stand.admin("POST", f"grants/{grant}/revoke")
        at += rng.uniform(*REVOCATIONS)
