"""docs/metrics.md has a row for each metric, as the code has it."""

from activities.measures import METRICS
from tests.docs.reading import rows, section, text_of


def test_every_metric_has_its_row_with_type_unit_labels_and_meaning() -> None:
    told = [tuple(cells) for cells in rows(section(text_of("docs/metrics.md"), "Ours"))]
    assert told == [
        (f"`{m.name}`", m.kind, m.unit or "–", ", ".join(f"`{name}`" for name in m.labels) or "–", m.process, m.meaning)
        for m in METRICS
    ]


def test_a_name_says_its_unit_and_that_it_is_counted() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith(f"_{metric.unit}") == bool(metric.unit)


def test_no_metric_names_a_tenant_a_user_or_an_id() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels <= {"provider", "kind", "state", "outcome", "method", "route", "status"}
