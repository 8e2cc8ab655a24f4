"""The alert rules: each is a rule Prometheus takes, fires when it should, and is explained to who is on call."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from activities.measures import METRICS
from tests.deploy.reading import ROOT
from tests.deploy.telemetry import ALERTS, DASHBOARD, FOLDER, PANELS, named_metrics
from tests.docs.reading import anchors, section, text_of

OPERATIONS = text_of("docs/operations.md")
NAMES = [alert["alert"] for alert in ALERTS]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def promtool(*words: str) -> None:
    done = subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", str(FOLDER / "alerts.yml"))


@needs_promtool
def test_prometheus_takes_the_example_that_scrapes_the_compose_file() -> None:
    promtool("check", "config", str(FOLDER / "prometheus.yml"))


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", str(Path(__file__).with_name("alerts_test.yml")))


def test_each_alert_is_tried_by_promtool() -> None:
    tried = re.findall(r"alertname: (\w+)", Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8"))
    assert set(tried) == set(NAMES)


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    told = re.findall(r"^#### (Authpipe\w+)$", OPERATIONS, re.MULTILINE)
    assert told == NAMES


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_a_section_says_what_it_means_and_what_to_do_first(alert: dict[str, Any]) -> None:
    text = section(OPERATIONS, alert["alert"])
    assert "**Means.**" in text
    assert "**First.**" in text
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor in set(anchors(text_of(page)))
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]


def test_a_gauge_that_every_worker_shows_is_never_added_up() -> None:
    gauges = {metric.name for metric in METRICS if metric.kind == "gauge"}
    texts = [alert["expr"] for alert in ALERTS] + [t["expr"] for panel in PANELS for t in panel["targets"]]
    for text in texts:
        for name in gauges & set(re.findall(r"\w+", text)):
            assert re.search(rf"max(?: by \([\w, ]+\))? \(?{name}|max\({name}|absent\({name}", text), text


def test_every_metric_of_ours_is_looked_at_somewhere() -> None:
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named_metrics()}
    assert {metric.name for metric in METRICS} <= asked


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    assert DASHBOARD["title"] == "Authpipe"
    assert DASHBOARD["schemaVersion"] >= 39
    assert "id" not in DASHBOARD, "an id is the importing Grafana's to give"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["type"] for panel in DASHBOARD["panels"]} <= {"row", "stat", "timeseries"}
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs))


def test_no_panel_lies_on_another_or_beyond_the_edge() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_example_scrapes_the_port_that_the_pages_name() -> None:
    port = re.search(r"port: (\d+)", (FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert port
    assert f"AUTHPIPE_METRICS_ADDRESS=0.0.0.0:{port[1]}" in text_of("docs/metrics.md")
    assert (ROOT / "deploy" / "grafana").exists()
