"""What the routes work with: built once in `runtime`, kept on the application, never global."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

import httpx
from fastapi import Depends, Request

from activities.deps import nobody_to_tell
from activities.measures import Measures
from activities.messages import ConfigIds
from activities.outgoing import Outgoing
from api.lives import Lives
from domain.points import Point, go_on
from providers.catalog import Catalog
from vault.crypto import Sealer
from vault.database import Database


@dataclass(frozen=True, slots=True)
class DemoPlaces:
    """What the demo page shows and reaches. Development alone has one; `origins` are those browsers may open it at."""

    provider: str
    client_id: str
    origins: tuple[str, ...]
    simulator: str
    temporal_ui: str
    transport: httpx.AsyncBaseTransport | None = None


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """The rooms below, the clock, and the few settings that routes need."""

    db: Database
    sealer: Sealer
    catalog: Catalog
    lives: Lives
    clock: Callable[[], datetime]
    development: bool
    session_life: timedelta = timedelta(minutes=15)
    selection_life: timedelta = timedelta(hours=1)
    verification_life: timedelta = timedelta(minutes=30)
    wait: timedelta = timedelta(seconds=8)
    reached: Callable[[Point, str], Awaitable[None]] = go_on
    demo: DemoPlaces | None = None
    trip: Callable[[ConfigIds], Awaitable[None]] = nobody_to_tell
    """Has the breaker of a config look at it now; never fails."""
    outgoing: Outgoing = field(default_factory=Outgoing)
    """Knows which URLs of builders may be called."""
    measures: Measures = field(default_factory=Measures)


async def deps_of(request: Request) -> ApiDeps:
    """The application's dependencies. Async, since the framework hands what is not to a thread, on every request."""
    deps: ApiDeps = request.app.state.deps
    return deps


DepsOf = Annotated[ApiDeps, Depends(deps_of)]
