"""How much each part measures: whole, or small enough for a test that it measures the real thing."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts, and rounds over which medians are taken. A round asks each side once."""

    readers: int = 1000
    """Connections that reads are drawn from."""
    reads: int = 8000
    read_rounds: int = 5
    refreshing: int = 500
    """In a wave of refreshes, and of bare loops; a worker's cache holds more."""
    refresh_rounds: int = 6
    waking: int = 200
    idle: tuple[int, ...] = (1000, 10_000)
    herd: int = 10_000
    herd_life: timedelta = timedelta(minutes=30)
    replays: int = 15


SMALL = Sizes(
    readers=20, reads=200, read_rounds=1, refreshing=60, refresh_rounds=1, waking=5,
    idle=(20, 40), herd=40, herd_life=timedelta(minutes=1), replays=1,
)  # fmt: skip
