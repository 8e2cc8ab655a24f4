"""What travels with a piece of work, and what of it is believed."""

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from structlog.contextvars import bound_contextvars
from temporalio.api.common.v1 import Payload

from activities.causes import HEADER, UNTRACED, cause_in, cause_now, is_traced, moment, span, trace_names, with_cause

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def sent() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(sent: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(sent))
    return provider.get_tracer("test")


def test_what_is_put_into_headers_comes_out_of_them() -> None:
    cause = {"request_id": "asked-1", "traceparent": PARENT}
    assert cause_in(with_cause({}, cause)) == cause


def test_without_a_cause_there_is_no_header() -> None:
    assert with_cause({}, cause_now()) == {}
    assert cause_in({}) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"no json",
        b"\xff",
        b"[]",
        b"null",
        json.dumps({"request_id": "with space", "traceparent": "00-zz"}).encode(),
        json.dumps({"request_id": ["x"], "tracestate": "vendor=canary", "baggage": "canary"}).encode(),
        json.dumps({"request_id": "x" * 65}).encode(),
    ],
)
def test_law_01_a_header_that_is_not_ours_is_not_believed_and_harms_nothing(data: bytes) -> None:
    assert cause_in({HEADER: Payload(data=data)}) == {}


def test_law_01_only_the_trace_and_the_request_are_carried_on(tracer: Tracer) -> None:
    """A caller's `tracestate` could write anything into histories."""
    with (
        span(tracer, "asked", cause={"traceparent": PARENT, "tracestate": "vendor=canary"}),
        bound_contextvars(request_id="asked-1", life_id="conn_1"),
    ):
        assert set(cause_now()) == {"request_id", "traceparent"}
        assert cause_now()["traceparent"].startswith("00-" + "a" * 32)


def test_without_traces_a_span_is_nothing() -> None:
    with span(UNTRACED, "nothing", cause={}):
        assert not is_traced()
        assert trace_names() == {}
        assert cause_now() == {}


def test_law_01_a_span_tells_of_an_error_its_kind_alone(tracer: Tracer, sent: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="canary"), span(tracer, "fails"):
        raise ValueError("canary")
    (told,) = sent.get_finished_spans()
    assert dict(told.attributes or {}) == {"error.type": "ValueError"}
    assert "canary" not in told.to_json()
    assert told.events == ()


def test_a_moment_is_a_place_in_the_trace_of_its_cause(tracer: Tracer, sent: InMemorySpanExporter) -> None:
    after = moment(tracer, "heard", {"request_id": "asked-1", "traceparent": PARENT}, 1_000, {"workflow_id": "w"})
    (told,) = sent.get_finished_spans()
    assert told.parent is not None
    assert f"{told.parent.span_id:016x}" == "b" * 16
    assert after == {"request_id": "asked-1", "traceparent": f"00-{'a' * 32}-{told.context.span_id:016x}-01"}


def test_a_moment_of_no_trace_is_none(tracer: Tracer, sent: InMemorySpanExporter) -> None:
    assert moment(tracer, "heard", {"request_id": "asked-1"}, 1_000, {}) == {"request_id": "asked-1"}
    assert sent.get_finished_spans() == ()
