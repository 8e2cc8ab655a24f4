"""The figures of a run, aligned, each with its goal; and whether one was missed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.counting import Fate, Fetch, Gaps, Tally
from tests.chaos.judging import Judgement
from tests.chaos.plan import NONE, WINDOW
from tests.chaos.striking import Struck

SHARE = 0.9999
FETCHES_PER_MINUTE = 10_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line. `met`: None where there is no goal."""

    name: str
    value: str
    goal: str = ""
    met: bool | None = None


def zero(name: str, count: int) -> Figure:
    return Figure(name, f"{count:,}", "0", count == 0)


def of_readers(tally: Tally, minutes: float) -> list[Figure]:
    """What those saw who fetched."""
    least = round(minutes * FETCHES_PER_MINUTE)
    kinds, share = tally.kinds, tally.share
    return [
        Figure("fetches", f"{tally.fetches:,}", f"{least:,} or more", tally.fetches >= least),
        Figure("answers 200", f"{tally.answered_200:,}"),
        Figure("  tokens accepted by the provider", f"{kinds[Fetch.ACCEPTED]:,}"),
        Figure("  tokens refused by the provider", f"{kinds[Fetch.REFUSED]:,}"),
        Figure("    of those, expired on their way", f"{tally.stale:,}"),
        Figure("  left out: revoked by the test", f"{kinds[Fetch.LEFT_OUT]:,}"),
        Figure("  left out: the provider gave no verdict", f"{kinds[Fetch.UNJUDGED]:,}"),
        Figure("share accepted", percent(share), f"{SHARE:.2%} or more", share is not None and share >= SHARE),
        Figure("honest 409", f"{kinds[Fetch.CONFLICT]:,}"),
        Figure("honest 503", f"{kinds[Fetch.UNAVAILABLE]:,}"),
        Figure("connection errors", f"{kinds[Fetch.NO_CONNECTION]:,}"),
        zero("other answers", kinds[Fetch.OTHER]),
    ]


def percent(share: float | None) -> str:
    """Cut off, not rounded: 99.99 % that was missed by a little must not read as met."""
    return "none" if share is None else f"{int(share * 1_000_000) / 10_000:.4f} %"


def of_lives(found: Judgement, gaps: Gaps) -> list[Figure]:
    """What became of the connections."""
    needless = sum(found.count(Fate.NEEDLESS, provider) for provider in found.fates)
    unnoticed = sum(found.count(Fate.UNNOTICED, provider) for provider in found.fates)
    longest = f"{gaps.longest:.1f} s" + (f" ({gaps.whose})" if gaps.whose else "")
    return [
        zero("grants lost although they lived, with a window", found.count(Fate.LOST, WINDOW)),
        Figure("grants lost although they lived, without one", f"{found.count(Fate.LOST, NONE):,}", "each listed"),
        zero("needless re-authorisations", needless),
        zero("refreshes sent twice against the rule, by the provider", found.twice_by_provider),
        zero("refreshes sent twice against the rule, by the ledger", len(found.twice)),
        Figure("  sent again as the rule allows", f"{found.resent - found.twice_by_provider:,}"),
        Figure("longest time without a valid credential", longest),
        zero("still without one at the end", len(gaps.now_without)),
        Figure("grants revoked by the test, noticed", times(found.detected)),
        Figure("  not noticed yet", f"{unnoticed:,}"),
    ]


def of_configs(found: Judgement, struck: Struck, configs: dict[str, str]) -> list[Figure]:
    """One pair of events for each time that a client secret was wrong. `configs`: their ids by provider."""
    figures = []
    for provider, config_id in configs.items():
        wrong = struck.secrets[provider]
        pairs = (found.misconfigured[config_id], found.recovered[config_id])
        told = f"{pairs[0]} misconfigured, {pairs[1]} recovered"
        figures.append(Figure(f"client secret wrong at {provider}", told, f"{wrong} of each", pairs == (wrong, wrong)))
    return figures


def of_blows(struck: Struck) -> list[Figure]:
    return [Figure(f"  {kind}", str(count)) for kind, count in sorted(struck.kinds.items())]


def times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "0"
    return f"{len(seconds)}: {min(seconds):.1f} / {median(seconds):.1f} / {max(seconds):.1f} s (min/median/max)"


def lines(figures: Sequence[Figure]) -> list[str]:
    names = max(len(figure.name) for figure in figures)
    values = max(len(figure.value) for figure in figures if figure.goal)
    return [_line(figure, names, values) for figure in figures]


def _line(figure: Figure, names: int, values: int) -> str:
    goal = f"  goal {figure.goal}" if figure.goal else ""
    verdict = {True: "  met", False: "  MISSED", None: ""}[figure.met]
    return f"{figure.name:<{names}}  {figure.value:<{values}}{goal}{verdict}".rstrip()


def missed(figures: Sequence[Figure]) -> bool:
    return any(figure.met is False for figure in figures)
