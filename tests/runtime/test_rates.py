"""How often a provider is called: the file's word before the setting's, and the shares of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from providers.catalog import Catalog, load_catalog
from runtime.rates import Rates

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def catalog() -> Catalog:
    """`slow` says its own rate."""
    known = load_catalog()
    return Catalog({**known, "slow": replace(known["jira"], id="slow", calls_per_second=2.0)})


def test_the_file_says_the_rate_before_the_setting_does(catalog: Catalog) -> None:
    rates = Rates(catalog, calls_per_second=30)
    assert [rates.of(name) for name in ("slow", "jira", "left the catalog")] == [2, 30, 30]


def test_check_ups_take_their_share_of_each_provider_by_itself(catalog: Catalog) -> None:
    rates = Rates(catalog, calls_per_second=40, probe_share=0.25)
    turns = [(rates.probe_turn(name, NOW) - NOW) for name in ("jira", "jira", "slow", "slow", "jira")]
    assert [turn / timedelta(seconds=1) for turn in turns] == [0, 0.1, 0, 2, 0.2]


async def test_a_release_takes_half_of_the_rate(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    class Recorded:
        def __init__(self, per_second: float) -> None:
            made.append(per_second)

        async def turn(self) -> None:
            pass

    monkeypatch.setattr("runtime.rates.Pace", Recorded)
    rates = Rates(catalog, calls_per_second=200)
    for provider in ("jira", "slow", "jira"):
        await rates.release_turn(provider)
    assert made == [100, 1], "one for each provider, whoever asks"
