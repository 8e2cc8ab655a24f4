"""The figures of a run. What is no question of speed has a goal of its own, and most of those are 0."""

from collections.abc import Sequence

from runtime.processes import TERM_SECONDS
from tests.chaos.counting import Fetch, Tally
from tests.chaos.report import Figure, times, zero
from tests.topology import rates
from tests.topology.refreshes import Worked

AWAY = "database_unavailable"
"""What an API says while the database is stopped; the one thing here that there is one of, and that reads need."""


def figures(reads: Sequence[rates.Window], worked: Worked, resent: int, in_doubt: int) -> list[Figure]:
    """Rates, and what workers left behind that were asked to end."""
    within = all(seconds < TERM_SECONDS for seconds in worked.ended)
    return [
        *rates.figures("reads", "API process", "API processes", reads),
        *rates.figures("refreshes", "worker", "workers", worked.windows),
        Figure("workers asked to end, and ended after", times(worked.ended), f"{TERM_SECONDS:g} s at most", within),
        zero("  refreshes left in doubt meanwhile", in_doubt),
        zero("  refresh tokens sent again meanwhile", resent),
    ]


def of_readers(tally: Tally) -> list[Figure]:
    """What those saw who read while processes were killed, and asked the other API where one did not answer."""
    kinds = tally.kinds
    others = sum(count for code, count in tally.unavailable.items() if code != AWAY)
    return [
        Figure("fetches while each process was killed once", f"{tally.fetches:,}"),
        Figure("  tokens accepted by the provider", f"{kinds[Fetch.ACCEPTED]:,}"),
        zero("  tokens refused by the provider", kinds[Fetch.REFUSED]),
        Figure("  left out: the provider gave no verdict", f"{kinds[Fetch.UNJUDGED]:,}"),
        Figure("  503 while the database was stopped", f"{tally.unavailable[AWAY]:,}"),
        zero("  503 for any other reason", others),
        zero("  409 needs_reauth", kinds[Fetch.CONFLICT]),
        zero("  neither API answered", kinds[Fetch.NO_CONNECTION]),
        zero("  other answers", kinds[Fetch.OTHER]),
    ]
