"""What one refresh leaves in the engine's history: events, and bytes of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.report import Goal, Table, median
from bench.stand import Stand
from vault.tables import Life

PLAIN = {
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_TIMER_FIRED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
}
"""Of a refresh that nobody asked for and nothing came in between."""
LOOKED_AT = 20
TIMED = 0.9
"""Below that they are not what the bare loop does: one that is due again when it is heard of costs the engine less."""
MOST_EVENTS, MOST_KILOBYTES = 11, 1.2


@dataclass(frozen=True, slots=True)
class Left:
    """Medians over the refreshes of some connections."""

    events: float
    kilobytes: float
    timed: float
    """The share of all their refreshes that waited for a timer, as each turn of the bare loop does."""

    def table(self) -> Table:
        return Table(
            "What a refresh leaves in history", ("", "events", "KB"),
            [("a refresh of a Jira connection with 13 scopes", f"{self.events:.0f}", f"{self.kilobytes:.2f}")],
        )  # fmt: skip

    def goals(self) -> Sequence[Goal]:
        return (
            Goal("events of a refresh", self.events, MOST_EVENTS, at_most=True),
            Goal("history of a refresh", self.kilobytes, MOST_KILOBYTES, "KB", at_most=True),
            Goal("of the refreshes waited for a timer", self.timed, TIMED),
        )


async def left_by_a_refresh(stand: Stand, sown: Sequence[Life]) -> Left:
    """Looks at the present runs of a few that were just refreshed."""
    runs = [(await stand.handle(one).fetch_history()).events for one in sown[:LOOKED_AT]]
    found = [cycle for events in runs for cycle in cycles(events)]
    assert found, "no run holds a whole refresh"
    timed = len(found) / sum(_refreshes(events) for events in runs)
    kilobytes = median(sum(event.ByteSize() for event in cycle) / 1000 for cycle in found)
    return Left(median(len(cycle) for cycle in found), kilobytes, timed)


def cycles(events: Iterable[HistoryEvent]) -> list[list[HistoryEvent]]:
    """The events from each timer to the next, as far as a timer that fired and one activity lie between them."""
    cut: list[list[HistoryEvent]] = []
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            cut.append([])
        if cut:
            cut[-1].append(event)
    return [cycle for cycle in cut[:-1] if {event.event_type for event in cycle} == PLAIN and _once(cycle)]


def _once(cycle: Sequence[HistoryEvent]) -> bool:
    return [event.event_type for event in cycle].count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 1


def _refreshes(events: Iterable[HistoryEvent]) -> int:
    called = (event.activity_task_scheduled_event_attributes.activity_type.name for event in events)
    return list(called).count("refresh")
