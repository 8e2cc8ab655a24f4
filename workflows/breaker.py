"""The breaker of one provider config: it waits while the config is held, sends one life first, then releases all.

It starts when a hold begins and ends when nobody waits any more. What is held, and for how long, stands in the row; the
breaker only waits. Changing the order or kind of commands breaks living runs, as in `workflows.life`.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.breaker import BreakerActivities, Look, LookOrder, Released
    from activities.messages import ConfigIds
    from domain.headline import clock
    from domain.schedule import FIRST_BACKOFF
    from workflows.details import page
    from workflows.messages import BreakerStart

LOOKS_PER_RUN = 50
# A worker that was killed while it looked, or released, is noticed after so long.
ONE_LOOK = HEARTBEAT = timedelta(seconds=10)
# Of a hundred thousand at a slow provider's pace.
ONE_RELEASE = timedelta(hours=12)
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
)


@workflow.defn(name="Breaker")
class Breaker:
    """Waits while a provider config is held; see the module."""

    @workflow.init
    def __init__(self, start: BreakerStart) -> None:
        self.start = replace(start, since=start.since or workflow.now())
        self.looks = 0
        self.told = False

    @workflow.run
    async def run(self, start: BreakerStart) -> None:
        while not await self._round():
            if self.looks >= LOOKS_PER_RUN or workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self.start)

    @workflow.signal
    def look(self) -> None:
        """The hold began, changed or ended: look at the row now."""
        self.told = True

    async def _round(self) -> bool:
        """Look, and wait or release; True when nobody waits any more."""
        self.told = False
        seen = await self._look()
        self._show(seen)
        if seen.gone:
            return True
        if seen.kind:
            await self._wait(seen.next_at)
            return False
        released = await self._release()
        return not released.held and not self.told

    async def _look(self) -> Look:
        self.looks += 1
        seen = await workflow.execute_activity_method(
            BreakerActivities.look,
            LookOrder(self.start.config, self.start.turn),
            start_to_close_timeout=ONE_LOOK,
            retry_policy=RETRY,
            summary="look whether the config is still held",
        )
        if seen.scout:
            self.start = replace(self.start, turn=self.start.turn + 1)
        return seen

    async def _release(self) -> Released:
        return await workflow.execute_activity_method(
            BreakerActivities.release,
            self.start.config,
            start_to_close_timeout=ONE_RELEASE,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary="wake all that waited",
        )

    async def _wait(self, at: datetime | None) -> None:
        """Until then or until a message comes; a little at least, since the worker's clock may lag behind ours."""
        wait = max((at or workflow.now()) - workflow.now(), FIRST_BACKOFF)
        try:
            await workflow.wait_condition(
                lambda: self.told, timeout=wait, timeout_summary=f"look again at {clock(workflow.now() + wait)}"
            )
        except TimeoutError:
            return

    def _show(self, seen: Look) -> None:
        workflow.set_current_details(details(self.start, seen))


def summary(config: ConfigIds) -> str:
    """What it is the breaker of, in a line: of its first run."""
    return f"Breaker of provider config {config.config_id} of {config.provider_id}"


def details(start: BreakerStart, seen: Look) -> str:
    """The live page, in Markdown."""
    rows = [
        ("Held", f"**{seen.kind}** ({seen.reason})" if seen.kind else "no"),
        ("Since", clock(start.since)),
        ("Next try", clock(seen.next_at) if seen.kind else "now"),
        ("Sent last", seen.scout or "none"),
        ("Scouts so far", str(start.turn)),
        ("Waiting", str(seen.waiting) if seen.kind else "being released"),
    ]
    return page(summary(start.config), rows)
