"""`python -m tests.chaos.detection`: how soon a grant that is revoked at its provider is an event of ours."""

import asyncio
import base64
import secrets
import sys
import time
from collections.abc import Sequence
from random import Random

from tests.chaos import report
from tests.chaos.plan import NONE, PROVIDERS
from tests.chaos.seeding import Seeded, Sower, start_all
from tests.chaos.stand import Stand, own_stand

TIMES = 10
CHECK_EVERY = 60
"""Seconds between two check-ups: the least that a config can have."""
SELDOM = 6 * 3600
"""Seconds, so that the webhook alone finds out, and none was checked up just now: for half a minute it would wait."""
SPREAD = 1.1
"""A check-up may be a tenth late by chance."""
A_REFRESH = 5.0
"""Seconds for the refresh that the refused token is followed by: only the token endpoint's word counts."""
BY_WEBHOOK = 1.0
LONG_LIFE = (3000, 3600)
"""Seconds. Nothing is refreshed meanwhile, so it is the check-up that finds out."""
EVERY = 0.02
SEARCH = {"filter": {"event_type": {"eq": "connection.needs_reauth"}}, "limit": 200}


async def detect() -> int:
    """Both ways, on one quiet stack; answers the exit code."""
    async with own_stand() as stand:
        polled = await _timed(stand, await _connections(stand, CHECK_EVERY, PROVIDERS, first=0))
        await _announce(stand)
        told = []
        for one in await _connections(stand, SELDOM, (NONE,), first=1000):
            told += await _timed(stand, [one])
    within = CHECK_EVERY * SPREAD + A_REFRESH
    figures = [
        _figure(f"check-up every {CHECK_EVERY} s, no webhook", polled, within),
        _figure("webhook", told, BY_WEBHOOK),
    ]
    print("\nrevoked at the provider until `needs_reauth` in POST /api/events/search (min/median/max)")
    print(*report.lines(figures), sep="\n")
    return int(report.missed(figures))


async def _connections(stand: Stand, check_every: int, providers: Sequence[str], first: int) -> list[Seeded]:
    """So many that each has an account of its own."""
    for app in stand.apps.values():
        await stand.configure(app, probe_interval_seconds=check_every)
    seeded = await Sower(stand, Random(), check_every, LONG_LIFE).sow(2 * TIMES, first)
    await start_all(stand)
    return [one for one in seeded if one.provider in providers][:TIMES]


async def _announce(stand: Stand) -> None:
    """From now on the provider sends a signed webhook for each grant that is revoked, and nobody else asks."""
    key = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    app = stand.apps[NONE]
    await stand.configure(app, signing_key=key)
    url = f"{stand.where.api}/webhooks/{NONE}?provider_config_id={app.config_id}"
    await stand.admin("POST", "webhooks", url=url, signing_key=key)


async def _timed(stand: Stand, connections: Sequence[Seeded]) -> list[float]:
    """Revoke them all, and look until each is known; one look after the other, so that looking costs little."""
    revoked = {}
    for connection in connections:
        revoked[connection.life_id] = time.monotonic()
        await stand.admin("POST", f"grants/{connection.grant}/revoke")
    known: dict[str, float] = {}
    async with asyncio.timeout(3 * CHECK_EVERY):
        while len(known) < len(revoked):
            await asyncio.sleep(EVERY)
            seen = await _known(stand) & revoked.keys()
            known = {**dict.fromkeys(seen, time.monotonic()), **known}
    return [known[life_id] - at for life_id, at in revoked.items()]


async def _known(stand: Stand) -> set[str]:
    answer = await stand.api.post("/api/events/search", json=SEARCH)
    answer.raise_for_status()
    return {event["connection_id"] for event in answer.json()["data"]}


def _figure(name: str, seconds: Sequence[float], most: float) -> report.Figure:
    return report.Figure(name, report.times(seconds), f"{most:g} s at most", max(seconds) <= most)


if __name__ == "__main__":
    sys.exit(asyncio.run(detect()))
