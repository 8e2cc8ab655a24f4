"""What a run of many processes counts, and when it fails."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from tests.chaos.counting import Fetch, Tally
from tests.chaos.plan import KILLS, Kind
from tests.chaos.report import Figure, missed
from tests.topology import rates, report
from tests.topology.__main__ import options
from tests.topology.rates import Ticks, Window, per_second, ticks, up_and_down
from tests.topology.refreshes import Worked
from tests.topology.run import each_once

STAT = "cpu  100 5 40 800 55 0 10 0 7 0"


def test_every_number_of_processes_is_measured_as_early_as_late() -> None:
    assert up_and_down(3) == [1, 2, 3, 3, 2, 1]
    assert up_and_down(1) == [1, 1]


def test_a_rate_is_of_all_windows_with_as_many_processes_together() -> None:
    windows = [Window(1, 10, 400), Window(2, 10, 900), Window(1, 30, 400)]
    assert (per_second(windows, 1), per_second(windows, 2)) == (20, 90)


def test_rates_are_told_as_ratios_to_one_process_and_with_what_the_machine_had_left() -> None:
    windows = [Window(1, 10, 400, 0.9), Window(2, 10, 600, 0.96), Window(2, 10, 600, 1.0)]
    one, two = rates.figures("refreshes", "worker", "workers", windows)
    assert (one.name, two.name) == ("refreshes a second, 1 worker", "refreshes a second, 2 workers")
    assert one.value == "40.0  (1.00 of one; windows of 40.0 to 40.0; processors 90% busy)"
    assert two.value == "60.0  (1.50 of one; windows of 60.0 to 60.0; processors 98% busy)"


def test_without_anything_done_there_is_no_ratio() -> None:
    (one,) = rates.figures("reads", "API process", "API processes", [Window(1, 10, 0)])
    assert one.value == "0.0  (nothing done by one; windows of 0.0 to 0.0)"


def test_processors_are_busy_while_they_neither_idle_nor_wait_for_a_disk() -> None:
    assert ticks(STAT) == Ticks(all=1010, idle=855)
    assert Ticks(1000, 800).busy_until(Ticks(1100, 825)) == 0.75
    assert Ticks(0, 0).busy_until(Ticks(0, 0)) is None


@pytest.mark.parametrize("seed", range(20))
def test_each_process_is_struck_once_and_has_time_to_come_back(seed: int) -> None:
    blows = each_once(Random(seed), 12)
    assert sorted(blow.kind for blow in blows) == sorted(KILLS)
    assert all(after.at - before.at == 12 for before, after in pairwise(blows))
    assert [blow.seconds for blow in blows if blow.kind is Kind.DATABASE] == [3]
    assert each_once(Random(seed), 12) == blows


def counted(*, ended: float = 2, resent: int = 0, in_doubt: int = 0) -> list[Figure]:
    windows = [Window(1, 10, 400)]
    return report.figures(windows, Worked(windows, [1, ended]), resent, in_doubt)


def test_a_worker_that_was_asked_to_end_leaves_nothing_in_doubt_and_need_not_be_killed() -> None:
    assert not missed(counted())
    assert missed(counted(resent=1))
    assert missed(counted(in_doubt=1))
    assert missed(counted(ended=20))


@pytest.mark.parametrize("kind", [Fetch.REFUSED, Fetch.CONFLICT, Fetch.NO_CONNECTION, Fetch.OTHER])
def test_a_reader_who_was_not_served_is_a_goal_missed(kind: Fetch) -> None:
    assert not missed(report.of_readers(Tally(Counter({Fetch.ACCEPTED: 5, Fetch.UNJUDGED: 1}))))
    assert missed(report.of_readers(Tally(Counter({Fetch.ACCEPTED: 5, kind: 1}))))


def test_a_503_is_excused_by_the_database_alone() -> None:
    assert not missed(report.of_readers(Tally(unavailable=Counter({"database_unavailable": 9}))))
    assert missed(report.of_readers(Tally(unavailable=Counter({"database_unavailable": 9, "refresh_pending": 1}))))


def test_what_is_not_asked_for_is_the_usual() -> None:
    asked = options([])
    assert (asked.connections, asked.seconds) == (300, 20)
