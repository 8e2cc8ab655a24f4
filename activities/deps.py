"""What activities work with: built once by the worker and passed in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.http import ProviderHttp
from domain.points import Point, go_on
from providers.catalog import Catalog
from providers.model import Provider
from vault.crypto import Sealer
from vault.database import Database


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take. The HTTP deadline lies inside the lease, and leaves time to commit."""

    lease: timedelta = timedelta(seconds=30)
    http: timedelta = timedelta(seconds=15)
    selection: timedelta = timedelta(hours=1)
    verification: timedelta = timedelta(minutes=30)
    stumbling: timedelta = timedelta(minutes=15)
    operator_hold: timedelta = timedelta(minutes=1)
    revocation: timedelta = timedelta(minutes=15)
    probe_every: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Deps:
    """The rooms below, and the clock."""

    db: Database
    sealer: Sealer
    catalog: Catalog
    http: ProviderHttp
    clock: Callable[[], datetime]
    limits: Limits
    reached: Callable[[Point, str], Awaitable[None]] = go_on

    def provider(self, provider_id: str) -> Provider:
        """The provider's entry. Raises KeyError if its file was taken out of the catalog."""
        return self.catalog[provider_id]
