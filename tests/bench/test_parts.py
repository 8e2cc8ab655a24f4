"""Each part of the bench, with few of everything: it measures the whole product, and prints what comes from there."""

import pytest

from bench import herd, idle, read, refresh, replay, wake
from bench.report import Report
from bench.sizes import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def figures(report: Report, table: int = 0) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    return {row[0]: list(row[1:]) for row in report.tables[table].rows}


async def test_reads_are_measured_beside_the_floor_on_both_databases() -> None:
    report = await read.measure(SMALL)
    rows = figures(report)
    assert len(rows) == 8
    assert all(float(rate.replace(",", "")) > 0 for rate, *_ in rows.values())
    assert [goal.measured > 0 for goal in report.goals] == [True] * 4


async def test_refreshes_are_measured_beside_a_bare_loop_and_leave_eleven_events() -> None:
    report = await refresh.measure(SMALL)
    rows = figures(report)
    assert {"SQLite: bare loop", "SQLite: refresh", "PostgreSQL: bare loop", "PostgreSQL: refresh"} == set(rows)
    assert "provider" in rows["SQLite: refresh"][-1]
    assert next(goal for goal in report.goals if goal.name == "events of a refresh").measured == 11


async def test_a_wake_after_eviction_replays_and_one_before_does_not() -> None:
    rows = figures(await wake.measure(SMALL))
    (evicted,) = (row for name, row in rows.items() if name.startswith("evicted"))
    assert float(evicted[-1]) > 1


async def test_replaying_takes_every_committed_history() -> None:
    rows = figures(await replay.measure(SMALL))
    assert len(rows) == len(list(replay.HISTORIES.glob("*.json")))


async def test_idle_connections_are_counted_in_the_engine_s_file() -> None:
    report = await idle.measure(SMALL)
    assert list(figures(report)) == ["0", *(str(count) for count in SMALL.idle)]
    assert report.goals[0].measured > 1


async def test_a_herd_is_refreshed_and_read_before_its_tokens_end() -> None:
    report = await herd.measure(SMALL)
    assert all(goal.met for goal in report.goals)
    assert int(figures(report)["read meanwhile, and a few seconds longer"][0].replace(",", "")) > 0
