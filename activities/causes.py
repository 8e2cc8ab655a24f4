"""What caused a piece of work: a request, by its id and its place in a trace. It travels along; nothing depends on it.

It goes in a header of the engine's, beside the arguments: with a call of ours into the workflow, with the workflow's
order to the activity. It stands in histories, so it holds these two, in their own forms, and nothing else.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import get_contextvars
from temporalio.api.common.v1 import Payload

HEADER = "authpipe-cause"
REQUEST_ID = "request_id"
TRACE = "traceparent"
WELL_FORMED = {
    REQUEST_ID: re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    TRACE: re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
}
UNTRACED: Tracer = NoOpTracer()

Cause = Mapping[str, str]
Headers = Mapping[str, Payload]

_propagator = TraceContextTextMapPropagator()


def cause_now() -> Cause:
    """Why we are at work just now; empty if it was nobody's request."""
    cause: dict[str, str] = {}
    _propagator.inject(cause)
    return _known({**cause, REQUEST_ID: get_contextvars().get(REQUEST_ID)})


def with_cause(headers: Headers, cause: Cause) -> Headers:
    """These headers and, where there is one, the cause."""
    if not cause:
        return headers
    return {**headers, HEADER: Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(dict(cause)).encode())}


def cause_in(headers: Headers) -> Cause:
    """The cause in them; empty if there is none, or none that can be read."""
    if HEADER not in headers:
        return {}
    try:
        return _known(json.loads(headers[HEADER].data))
    except ValueError:
        return {}


def _known(said: Any) -> Cause:
    found = said if isinstance(said, Mapping) else {}
    return {name: found[name] for name, form in WELL_FORMED.items() if form.fullmatch(str(found.get(name) or ""))}


@contextmanager
def span(
    tracer: Tracer,
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str] | None = None,
    cause: Cause | None = None,
) -> Iterator[Span]:
    """A span around what is done here, below `cause` if one is named (if it names no trace: the first of a new one).

    Of an exception it tells the type and nothing else: a text may quote what it was given.
    """
    above = None if cause is None else _propagator.extract(cause)
    with tracer.start_as_current_span(
        name, above, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(StatusCode.ERROR)
            raise


def moment(tracer: Tracer, name: str, cause: Cause, at: int, attributes: Mapping[str, str]) -> Cause:
    """A span without duration, `at` nanoseconds of Unix time; answers `cause` with it as the place in the trace.

    Without a trace it is none: it would be alone in one of its own.
    """
    if TRACE not in cause:
        return cause
    made = tracer.start_span(name, _propagator.extract(cause), SpanKind.CONSUMER, attributes, start_time=at)
    made.end(at)
    context = made.get_span_context()
    return {**cause, TRACE: f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}


def is_traced() -> bool:
    """Whether what is done just now belongs to a trace."""
    return get_current_span().get_span_context().is_valid


def trace_names() -> dict[str, str]:
    """The trace of what is done just now, for a log line."""
    context = get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid else {}
