"""Traces of requests; off unless OpenTelemetry's own variables say where they go."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from activities.causes import UNTRACED, span
from api.request_ids import RequestIds
from runtime.errors import SettingsError
from runtime.ports import free_port
from runtime.tracing import TracedRequests, open_tracing
from tests.end_to_end.collector import collecting

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def sent() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


@pytest.fixture
async def client(sent: InMemorySpanExporter) -> Any:
    app = FastAPI()
    app.add_middleware(RequestIds)

    @app.get("/visit/{link}")
    async def visit(link: str) -> dict[str, Any]:
        return {"link": link}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("canary")

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(sent))
    traced = TracedRequests(app, provider.get_tracer("test"))
    transport = httpx.ASGITransport(traced, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield http


def only(sent: InMemorySpanExporter) -> ReadableSpan:
    (told,) = sent.get_finished_spans()
    return told


async def test_law_01_a_request_is_named_by_its_route_and_by_nothing_it_brought(
    client: httpx.AsyncClient, sent: InMemorySpanExporter
) -> None:
    headers = {"authorization": "Bearer canary-3", "x-request-id": "asked-1"}
    await client.get("/visit/canary-1?code=canary-2", headers=headers)
    told = only(sent)
    assert told.name == "GET /visit/{link}"
    assert dict(told.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/visit/{link}",
        "http.response.status_code": 200,
        "request_id": "asked-1",
    }
    assert "canary" not in told.to_json()


async def test_it_goes_on_in_the_trace_of_who_asks(client: httpx.AsyncClient, sent: InMemorySpanExporter) -> None:
    await client.get("/visit/x", headers={"traceparent": PARENT})
    assert f"{only(sent).context.trace_id:032x}" == "a" * 32


@pytest.mark.parametrize("given", ["", "canary", "00-" + "0" * 32 + "-" + "b" * 16 + "-01", PARENT + "-canary"])
async def test_a_trace_that_cannot_be_read_is_a_new_one(
    client: httpx.AsyncClient, sent: InMemorySpanExporter, given: str
) -> None:
    await client.get("/visit/x", headers={"traceparent": given})
    assert only(sent).parent is None


async def test_a_failure_is_marked_without_its_words(client: httpx.AsyncClient, sent: InMemorySpanExporter) -> None:
    await client.get("/broken")
    assert only(sent).status.status_code is StatusCode.ERROR
    assert "canary" not in only(sent).to_json()


async def test_an_unknown_path_is_not_told(client: httpx.AsyncClient, sent: InMemorySpanExporter) -> None:
    await client.get("/canary")
    assert only(sent).name == "GET none"


async def test_without_an_endpoint_there_are_no_traces() -> None:
    async with open_tracing("api") as tracer:
        assert tracer is UNTRACED


async def test_they_can_be_switched_off_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with open_tracing("api") as tracer:
        assert tracer is UNTRACED


async def test_another_protocol_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        async with open_tracing("api"):
            pass


async def test_what_was_not_sent_yet_is_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        async with open_tracing("worker") as tracer:
            with span(tracer, "last"):
                pass
    assert [(told.service, told.name) for told in collector.spans] == [("authpipe-worker", "last")]


async def test_a_collector_that_is_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    async with asyncio.timeout(30):  # its own retries go on for longer
        async with open_tracing("worker") as tracer:
            with span(tracer, "lost"):
                pass


def test_who_sends_no_traces_does_not_load_what_sends_them() -> None:
    loaded = "{'opentelemetry.sdk.trace', 'requests'} & set(sys.modules)"
    program = f"import runtime.cli, worker, sys; sys.exit(bool({loaded}))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
