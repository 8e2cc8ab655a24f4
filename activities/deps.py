"""What activities work with: built once by the worker and passed in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opentelemetry.trace import Tracer

from activities.causes import UNTRACED
from activities.http import ProviderHttp
from activities.measures import Measures
from activities.messages import ConfigIds
from activities.outgoing import Outgoing
from domain.points import Point, go_on
from providers.catalog import Catalog
from providers.model import Provider
from vault.crypto import Sealer
from vault.database import Database
from vault.retention import Keep
from vault.tables import Life


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take. The HTTP deadline lies inside the lease, and leaves time to commit."""

    lease: timedelta = timedelta(seconds=30)
    http: timedelta = timedelta(seconds=15)
    selection: timedelta = timedelta(hours=1)
    verification: timedelta = timedelta(minutes=30)
    stumbling: timedelta = timedelta(minutes=15)
    revocation: timedelta = timedelta(minutes=15)
    probe_every: timedelta = timedelta(minutes=1)
    delivery: timedelta = timedelta(days=5)
    keep: Keep = field(default_factory=Keep)


async def nobody_to_tell(_whom: ConfigIds | Life) -> None:
    """No engine is there to be told: the sweep finds it."""


def at_once(_provider_id: str, now: datetime) -> datetime:
    """No limit."""
    return now


@dataclass(frozen=True, slots=True)
class Deps:
    """The rooms below, and the clock.

    `trip` tells the breaker of a config that its hold began, changed or ended, and never fails; `wake` lets a life read
    its row, and raises `Problem` while the engine is away.
    """

    db: Database
    sealer: Sealer
    catalog: Catalog
    http: ProviderHttp
    clock: Callable[[], datetime]
    limits: Limits
    reached: Callable[[Point, str], Awaitable[None]] = go_on
    trip: Callable[[ConfigIds], Awaitable[None]] = nobody_to_tell
    wake: Callable[[Life], Awaitable[None]] = nobody_to_tell
    probe_turns: Callable[[str, datetime], datetime] = at_once
    outgoing: Outgoing = field(default_factory=Outgoing)
    measures: Measures = field(default_factory=Measures)
    tracer: Tracer = UNTRACED

    def provider(self, provider_id: str) -> Provider:
        """The provider's entry. Raises KeyError if its file was taken out of the catalog."""
        return self.catalog[provider_id]

    def turn_to_probe(self, provider_id: str) -> datetime:
        """When this provider may be asked for a check-up: the turn is reserved, now or later, so wait for it."""
        return self.probe_turns(provider_id, self.clock())
