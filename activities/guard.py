"""Around every activity: a heartbeat, so that a killed worker is noticed; failures that tell nothing secret; one log
line, and where there are traces one span, that say what it was done for.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry.trace import SpanKind, Tracer
from structlog.contextvars import bound_contextvars
from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.causes import REQUEST_ID, UNTRACED, Headers, cause_in, span, trace_names
from domain.errors import where
from domain.identity import names_in

HEARTBEAT_SECONDS = 3
log = structlog.get_logger(__name__)


class Guard(Interceptor):
    """Given to the worker; see the module."""

    def __init__(self, tracer: Tracer = UNTRACED) -> None:
        self._tracer = tracer

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Guarded(next, self._tracer)


class _Guarded(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, tracer: Tracer) -> None:  # noqa: A002
        super().__init__(next)
        self._tracer = tracer

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        with _named(input.headers, self._tracer):
            began = time.perf_counter()
            result = await self._work(input)
            milliseconds = round((time.perf_counter() - began) * 1000, 1)
            told = {"ending": result.ending} if hasattr(result, "ending") else {}
            log.info("activity done", ms=milliseconds, **told)
            return result

    async def _work(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        beat = _Beat()
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


@contextmanager
def _named(headers: Headers, tracer: Tracer) -> Iterator[None]:
    """Every line from here on says which activity it is of, of which workflow and life, and for which request."""
    info, cause = activity.info(), cause_in(headers)
    owner = info.workflow_id or ""
    names = {"activity": info.activity_type, "workflow_id": owner, **names_in(owner)}
    if REQUEST_ID in cause:
        names[REQUEST_ID] = cause[REQUEST_ID]
    with (
        span(tracer, f"RunActivity:{info.activity_type}", SpanKind.CONSUMER, names, cause),
        bound_contextvars(**names, **trace_names()),
    ):
        yield


class _Beat:
    """Beats until it is cancelled, in the activity that it was made in. No task: most activities end before a beat."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        activity.heartbeat()
        self._next = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def cancel(self) -> None:
        self._next.cancel()


def _faceless(error: Exception) -> ApplicationError:
    """A driver's message may quote what it was given, so only the kind of error is told; the log has the place."""
    name, kind = activity.info().activity_type, type(error).__name__
    log.error("an activity failed unexpectedly; it is tried again", error=kind, where=where(error))
    return ApplicationError(f"{kind} in {name}", type=kind)
