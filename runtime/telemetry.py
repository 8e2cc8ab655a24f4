"""What a process tells of itself: metrics at an address of its own, traces to a collector. Off unless configured."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from opentelemetry.trace import Tracer
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from activities.causes import UNTRACED
from activities.measures import METRICS, Measures
from runtime.errors import PortTakenError
from runtime.settings import Settings, variable
from runtime.tracing import open_tracing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What is built into a process. As it is made by itself: nothing is told to anybody."""

    runtime: Runtime | None = None
    """Of Temporal's client; None: the one that everybody shares."""
    measures: Measures = field(default_factory=Measures)
    tracer: Tracer = UNTRACED


OFF = Telemetry()


@asynccontextmanager
async def open_telemetry(settings: Settings, process: str) -> AsyncIterator[Telemetry]:
    """Listen for scrapes and send traces, as far as that is configured. Raises a refusal."""
    runtime = _listening(settings)
    measures = Measures(runtime.metric_meter) if runtime else Measures()
    async with open_tracing(process) as tracer:
        yield Telemetry(runtime, measures, tracer)


def _listening(settings: Settings) -> Runtime | None:
    """Temporal's runtime, which serves its own metrics and ours at one address."""
    if not settings.metrics_address:
        return None
    prometheus = PrometheusConfig(
        bind_address=settings.metrics_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={metric.name: metric.buckets for metric in METRICS if metric.buckets},
    )
    try:
        runtime = Runtime(telemetry=TelemetryConfig(metrics=prometheus, attach_service_name=False))
    except (RuntimeError, ValueError) as error:
        raise PortTakenError(
            f"{variable('metrics_address')}: {settings.metrics_address} cannot be listened on ({error}); "
            "give each process an address of its own"
        ) from None
    log.info("metrics", url=f"http://{settings.metrics_address}/metrics")
    return runtime
