"""What is counted and measured: the one list of our metrics, and the instruments by which a process says them.

A label has few values, all known beforehand: providers of the catalog, states, codes. Never a tenant, a user, an id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from temporalio.common import MetricGaugeFloat, MetricMeter

from vault.standing import HELD, STATES, Standing

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
SERVED = "served"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as a scrape shows it. `unit` is part of the name already, or none where things are counted."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    process: Literal["api", "worker"]
    meaning: str
    buckets: tuple[float, ...] = ()


CONNECTIONS = Metric(
    "authpipe_connections",
    "gauge",
    "",
    ("provider", "kind", "state"),
    "worker",
    "Installations and connections that were active once: `active`, `degraded`, `needs_reauth`, `deleting`.",
)
OVERDUE = Metric(
    "authpipe_overdue_connections",
    "gauge",
    "",
    ("provider",),
    "worker",
    "Those whose refresh was due five minutes ago (one, if the credential has ended), and that no hold keeps from it.",
)
IN_DOUBT = Metric(
    "authpipe_in_doubt_attempts",
    "gauge",
    "",
    ("provider",),
    "worker",
    "Refreshes that were sent, whose answer nobody knows, and that nobody waits for any more.",
)
HELD_CONFIGS = Metric(
    "authpipe_held_configs",
    "gauge",
    "",
    ("provider", "kind"),
    "worker",
    "Provider configs that are held, as `outage` or `misconfigured`.",
)
OUTBOX_LAG = Metric(
    "authpipe_outbox_lag_seconds",
    "gauge",
    "seconds",
    (),
    "worker",
    "How long the oldest event waits that is still to be delivered, 0 if none does; without endpoints that are gone.",
)
OUTBOX_EVENTS = Metric(
    "authpipe_outbox_events", "gauge", "", (), "worker", "Events that wait to be delivered, at those endpoints."
)
MEASURED = Metric(
    "authpipe_vault_measured_timestamp_seconds",
    "gauge",
    "seconds",
    (),
    "worker",
    "When this worker last read the gauges above out of the vault, as a Unix time.",
)
REFRESHES = Metric(
    "authpipe_refreshes_total",
    "counter",
    "",
    ("provider", "outcome"),
    "worker",
    "Refreshes by how they ended: `credentialed`, `refused` (the user has to come again), `held`, `stumbled` (a "
    "moment's failure), `waiting` (in doubt, or nothing to refresh with), `reload` (the row had changed).",
)
TO_EXPIRY = Metric(
    "authpipe_refresh_to_expiry_seconds",
    "histogram",
    "seconds",
    ("provider",),
    "worker",
    "Life that the old credential had left when its refresh was sent, of those that succeeded; 0: it had ended.",
    (0.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0, 14400.0, 86400.0),
)
DELIVERIES = Metric(
    "authpipe_deliveries_total",
    "counter",
    "",
    ("outcome",),
    "worker",
    "Attempts to deliver an event: `delivered`, `failed`, `gone` (the endpoint wants none any more).",
)
READS = Metric(
    "authpipe_credential_reads_total",
    "counter",
    "",
    ("provider", "outcome"),
    "api",
    "Reads of a credential, of a provider that there is: `served`, or the [code](errors.md) of the refusal.",
)
REQUESTS = Metric(
    "authpipe_http_request_duration_seconds",
    "histogram",
    "seconds",
    ("method", "route", "status"),
    "api",
    "Requests by the route's template; `none` where no route fits.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

METRICS = (
    CONNECTIONS,
    OVERDUE,
    IN_DOUBT,
    HELD_CONFIGS,
    OUTBOX_LAG,
    OUTBOX_EVENTS,
    MEASURED,
    REFRESHES,
    TO_EXPIRY,
    DELIVERIES,
    READS,
    REQUESTS,
)


class Measures:
    """The instruments. Those of a process without metrics do nothing."""

    def __init__(self, meter: MetricMeter = MetricMeter.noop) -> None:
        self._refreshes = meter.create_counter(*_as_made(REFRESHES))
        self._to_expiry = meter.create_histogram_float(*_as_made(TO_EXPIRY))
        self._deliveries = meter.create_counter(*_as_made(DELIVERIES))
        self._reads = meter.create_counter(*_as_made(READS))
        self._requests = meter.create_histogram_float(*_as_made(REQUESTS))
        self._lag, self._waiting, self._measured = (
            meter.create_gauge_float(*_as_made(metric)) for metric in (OUTBOX_LAG, OUTBOX_EVENTS, MEASURED)
        )
        self._connections, self._overdue, self._in_doubt, self._held = (
            _Counted(metric, meter.create_gauge_float(*_as_made(metric)))
            for metric in (CONNECTIONS, OVERDUE, IN_DOUBT, HELD_CONFIGS)
        )

    def refreshed(self, provider: str, outcome: str) -> None:
        """A refresh ended, one way or the other."""
        self._refreshes.add(1, {"provider": provider, "outcome": outcome})

    def renewed(self, provider: str, expires_at: datetime | None, sent_at: datetime) -> None:
        """A refresh brought a new credential; `expires_at` is when the one before it ends, None: never."""
        if expires_at is not None:
            left = max(expires_at - sent_at, timedelta(0))
            self._to_expiry.record(left.total_seconds(), {"provider": provider})

    def delivery(self, outcome: str) -> None:
        """An event was sent to its endpoint."""
        self._deliveries.add(1, {"outcome": outcome})

    def read(self, provider: str, outcome: str) -> None:
        """A reader was answered. Only a provider of the catalog may be named."""
        self._reads.add(1, {"provider": provider, "outcome": outcome})

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = method if method in METHODS else OTHER
        self._requests.record(seconds, {"method": known, "route": route, "status": status})

    def stands(self, found: Standing, providers: Iterable[str], now: datetime) -> None:
        """What the vault says. `providers` are those whose zeros are to be seen too."""
        known = tuple(providers)
        kinds = ("installation", "connection")
        self._connections.set(found.connections, ((p, k, s) for p in known for k in kinds for s in STATES))
        self._overdue.set(_alone(found.overdue), ((p,) for p in known))
        self._in_doubt.set(_alone(found.in_doubt), ((p,) for p in known))
        self._held.set(found.held, ((p, kind) for p in known for kind in HELD))
        self._lag.set(found.lag.total_seconds())
        self._waiting.set(found.waiting)
        self._measured.set(now.timestamp())


class _Counted:
    """A gauge with labels: what was counted once and is there no more is said to be 0, or it would stand for ever."""

    def __init__(self, metric: Metric, gauge: MetricGaugeFloat) -> None:
        self._labels, self._gauge = metric.labels, gauge
        self._said: set[tuple[str, ...]] = set()

    def set(self, counts: Mapping[tuple[str, ...], int], expected: Iterable[tuple[str, ...]]) -> None:
        self._said |= {*counts, *expected}
        for values in self._said:
            self._gauge.set(counts.get(values, 0), dict(zip(self._labels, values, strict=True)))


def _as_made(metric: Metric) -> tuple[str, str]:
    """Name and description as an instrument wants them: what is added to a counter's name comes of itself."""
    return metric.name.removesuffix("_total"), metric.meaning


def _alone(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(provider,): count for provider, count in counts.items()}
