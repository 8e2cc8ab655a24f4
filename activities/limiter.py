"""A share of a provider's rate: who asks is told when the turn is, and keeps to it."""

from datetime import datetime, timedelta


class Limiter:
    """Gives each provider's turns one after the other, evenly spaced. It waits for nothing, and keeps no clock.

    A turn that is given is taken: whoever asks twice has two. Each process counts for itself.
    """

    def __init__(self, per_second: float) -> None:
        self._gap = timedelta(seconds=1 / per_second)
        self._next: datetime | None = None

    def turn(self, now: datetime) -> datetime:
        """When the one who asks may go: now, if nobody went within the last gap."""
        at = now if self._next is None else max(now, self._next)
        self._next = at + self._gap
        return at
