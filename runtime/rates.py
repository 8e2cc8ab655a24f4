"""How often each provider is called: by its file or by the setting, with a share of it for check-ups and releases."""

from datetime import datetime

from activities.limiter import Limiter
from providers.catalog import Catalog
from runtime.pace import Pace

CALLS_PER_SECOND = 50.0
PROBE_SHARE = 0.1
# What is not released calls as well: people who consent, readers who wait, lives that come due.
RELEASE_SHARE = 0.5


class Rates:
    """One for each process. The calls of all workers together are bounded by the engine, the shares by each worker."""

    def __init__(
        self, catalog: Catalog, calls_per_second: float = CALLS_PER_SECOND, probe_share: float = PROBE_SHARE
    ) -> None:
        self._catalog = catalog
        self._default = calls_per_second
        self._probe_share = probe_share
        self._limiters: dict[str, Limiter] = {}
        self._paces: dict[str, Pace] = {}

    def of(self, provider_id: str) -> float:
        """Calls in a second; of a provider that left the catalog too, for its lives can still be deleted."""
        provider = self._catalog.get(provider_id)
        return provider.calls_per_second if provider and provider.calls_per_second else self._default

    def probe_turn(self, provider_id: str, now: datetime) -> datetime:
        """When the next check-up may ask this provider; the turn is reserved."""
        if provider_id not in self._limiters:
            self._limiters[provider_id] = Limiter(self.of(provider_id) * self._probe_share)
        return self._limiters[provider_id].turn(now)

    async def release_turn(self, provider_id: str) -> None:
        """Wait until the next life that waited for a hold may be woken."""
        if provider_id not in self._paces:
            self._paces[provider_id] = Pace(self.of(provider_id) * RELEASE_SHARE)
        await self._paces[provider_id].turn()
