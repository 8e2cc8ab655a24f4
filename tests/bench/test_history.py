"""What counts as one refresh in a history."""

from pathlib import Path

from temporalio.client import WorkflowHistory

from bench.history import cycles

HISTORIES = Path(__file__).parents[1] / "histories"


def test_a_refresh_is_cut_from_its_timer_to_the_next_one() -> None:
    events = WorkflowHistory.from_json("life", (HISTORIES / "0.1-refreshes-1.json").read_text()).events
    found = cycles(events)
    assert found
    assert {len(cycle) for cycle in found} == {11}
