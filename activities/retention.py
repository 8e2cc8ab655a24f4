# Append-only: these types travel through workflow histories; add fields with defaults, never rename or remove.
"""Retention as an activity: destroys what is over for long enough."""

from dataclasses import dataclass, field

import structlog
from temporalio import activity

from activities.deps import Deps
from activities.ending import interrupted, unless
from vault.retention import forget

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows of each kind."""

    rows: dict[str, int] = field(default_factory=dict)


class RetentionActivities:
    """Bound to what the worker built."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    @activity.defn
    async def forget(self) -> Forgotten:
        """Give it up at once when the worker ends: what is destroyed stays so, and the rest goes elsewhere."""
        work = forget(self._deps.db, self._deps.limits.keep, self._deps.clock())
        rows = await unless(work, activity.wait_for_worker_shutdown(), activity.wait_for_cancelled())
        if rows is None:
            raise interrupted()
        log.info("forgotten", **rows)
        return Forgotten(dict(rows))
