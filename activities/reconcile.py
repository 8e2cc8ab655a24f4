# Append-only: these types travel through workflow histories; add fields with defaults, never rename or remove.
"""The full pass as an activity; what it does is given by the worker, since it speaks to the engine itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from temporalio import activity

from activities.ending import interrupted, unless


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Counts alone, by the names of the cases."""

    living: int = 0
    running: int = 0
    found: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


class ReconcileActivities:
    """Bound to what the worker built."""

    def __init__(self, run: Callable[[], Awaitable[Reconciled]]) -> None:
        self._run = run

    @activity.defn
    async def reconcile(self) -> Reconciled:
        """Run the pass, but give it up at once when the worker ends: it may take an hour, and goes on elsewhere."""
        done = await unless(self._run(), activity.wait_for_worker_shutdown(), activity.wait_for_cancelled())
        if done is None:
            raise interrupted()
        return done
