"""Around every activity: a heartbeat, so that a killed worker is noticed; and failures that tell nothing secret."""

import asyncio
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import where

HEARTBEAT_SECONDS = 3
log = structlog.get_logger(__name__)


class Guard(Interceptor):
    """Given to the worker; see the module."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Guarded(next)


class _Guarded(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        beat = asyncio.create_task(_beat())
        work = asyncio.ensure_future(self.next.execute_activity(input))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # A provider's answer may be in hand, and nowhere else: whoever cancels waits until it is committed.
            # Its own deadlines end it: the HTTP limit and the lease.
            await asyncio.wait({work})
            raise
        except FailureError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not reach a history
            raise _faceless(error) from None
        finally:
            beat.cancel()


async def _beat() -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        activity.heartbeat()


def _faceless(error: Exception) -> ApplicationError:
    """A driver's message may quote what it was given, so only the kind of error is told; the log has the place."""
    name, kind = activity.info().activity_type, type(error).__name__
    log.error("an activity failed unexpectedly; it is tried again", activity=name, error=kind, where=where(error))
    return ApplicationError(f"{kind} in {name}", type=kind)
