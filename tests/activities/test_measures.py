"""What is said by which metric, and that it falls to 0 again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.common import MetricMeter

from activities.measures import METRICS, Measures
from vault.standing import Standing


class Heard:
    """Stands for an instrument: keeps what it was told last, and how often, by name and labels."""

    def __init__(self, name: str, said: dict[Any, float]) -> None:
        self._name, self._said = name, said

    def _keep(self, value: float, labels: Mapping[str, Any] | None = None) -> None:
        self._said[(self._name, *sorted((labels or {}).items()))] = value

    record = set = _keep

    def add(self, value: int, labels: Mapping[str, Any] | None = None) -> None:
        key = (self._name, *sorted((labels or {}).items()))
        self._said[key] = self._said.get(key, 0) + value


class Meter:
    def __init__(self, said: dict[Any, float]) -> None:
        self._said = said

    def __getattr__(self, _create: str) -> Any:
        return lambda name, *_: Heard(name, self._said)


@pytest.fixture
def said() -> dict[Any, float]:
    return {}


@pytest.fixture
def measures(said: dict[Any, float]) -> Measures:
    meter: Any = Meter(said)
    return Measures(meter)


def found(**changes: Any) -> Standing:
    nothing: dict[str, Any] = {"connections": {}, "overdue": {}, "in_doubt": {}, "held": {}}
    return Standing(**({**nothing, "waiting": 0, "lag": timedelta(0)} | changes))


def overdue(provider: str) -> Any:
    return ("authpipe_overdue_connections", ("provider", provider))


def test_what_is_counted_no_more_is_said_to_be_none(measures: Measures, said: dict[Any, float], now: datetime) -> None:
    """A gauge that nobody sets stands for ever, and its alert with it."""
    measures.stands(found(overdue={"gone": 3}), ["jira"], now)
    assert (said[overdue("gone")], said[overdue("jira")]) == (3, 0)
    measures.stands(found(), ["jira"], now)
    assert said[overdue("gone")] == 0


def test_a_refresh_after_the_end_had_nothing_left(measures: Measures, said: dict[Any, float], now: datetime) -> None:
    measures.renewed("late", now - timedelta(seconds=9), now)
    measures.renewed("soon", now + timedelta(seconds=9), now)
    measures.renewed("lasting", None, now)
    left = {dict(labels)["provider"]: value for (_, *labels), value in said.items()}
    assert left == {"late": 0, "soon": 9}


def test_a_method_that_nobody_knows_is_no_label_of_its_own(measures: Measures, said: dict[Any, float]) -> None:
    """Whoever asks could make as many series as they like."""
    for method in ("GET", "CANARY", "get"):
        measures.answered(method, "/health/live", 200, 0.1)
    assert {dict(labels)["method"] for _, *labels in said} == {"GET", "other"}


def test_each_metric_is_said_under_its_own_labels(measures: Measures, said: dict[Any, float], now: datetime) -> None:
    measures.refreshed("jira", "credentialed")
    measures.renewed("jira", now, now)
    measures.delivery("failed")
    measures.read("jira", "served")
    measures.answered("GET", "/", 200, 0.1)
    measures.stands(found(), ["jira"], now)
    labels = {name: {label for label, _ in rest} for name, *rest in said}
    assert labels == {metric.name.removesuffix("_total"): set(metric.labels) for metric in METRICS}


def test_without_a_meter_nothing_happens(now: datetime) -> None:
    measures = Measures(MetricMeter.noop)
    measures.refreshed("jira", "credentialed")
    measures.stands(found(overdue={"jira": 1}), ["jira"], now)
