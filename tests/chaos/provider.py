"""`python -m tests.chaos.provider PORT`: the simulator, which also notes when each refresh token was presented.

The simulator itself only counts presentations. It keeps no state file here: it is never killed, and with many tokens
it would spend its time on writing them down.
"""

import sys
import time
from collections import defaultdict
from typing import Any

from fastapi import APIRouter, Request

from simulator.app import create_app
from simulator.model import fingerprint
from simulator.serving import serve
from simulator.settings import SimulatorSettings
from simulator.world import World

PATH = "/_admin/presented"
router = APIRouter()


class NotingWorld(World):
    """A world that remembers when a refresh token was presented, and what came of it."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings, time.time)
        self.presented: dict[str, list[tuple[float, str]]] = defaultdict(list)

    def used(self, secret: str, outcome: str) -> None:
        super().used(secret, outcome)
        key = fingerprint(secret)
        if key in self.state.refresh_tokens:
            self.presented[key].append((self.now(), outcome))


@router.get(PATH)
async def presented(request: Request) -> list[dict[str, Any]]:
    """Every refresh token that was ever presented, by SHA-256, with the expiry of the access token given with it."""
    world: NotingWorld = request.app.state.world
    until = _paired(world)
    return [
        {
            "token": key,
            "provider": "jira" if world.state.grants[token.grant_id].server == "atlassian" else "plain",
            "family": token.family_id,
            "uses": world.presented[key],
            "access_until": until[key],
        }
        for key, token in world.state.refresh_tokens.items()
        if key in world.presented
    ]


def _paired(world: World) -> dict[str, float]:
    """Both tokens of an answer are written down together, so the n-th of a family belong to each other."""
    access = defaultdict(list)
    for one in world.state.access_tokens.values():
        access[one.family_id].append(one.expires_at)
    seen: dict[str, int] = defaultdict(int)
    paired = {}
    for key, token in world.state.refresh_tokens.items():
        paired[key] = access[token.family_id][seen[token.family_id]]
        seen[token.family_id] += 1
    return paired


def main() -> None:
    port = int(sys.argv[1])
    settings = SimulatorSettings(port=port, origin=f"http://127.0.0.1:{port}")
    app = create_app(settings)
    app.state.world = NotingWorld(settings)
    app.include_router(router)
    serve(app, settings.host, port)


if __name__ == "__main__":
    main()
