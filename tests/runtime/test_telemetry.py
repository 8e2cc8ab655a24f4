"""Metrics as a scrape shows them; off unless configured."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from activities.causes import UNTRACED
from activities.measures import METRICS
from runtime.errors import PortTakenError, SettingsError
from runtime.parts import workers_own
from runtime.ports import free_port, listen
from runtime.settings import Settings
from runtime.telemetry import open_telemetry
from tests.deploy.telemetry import scraped_names
from vault.standing import Standing

SettingsWith = Callable[..., Settings]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
STANDING = Standing({("jira", "connection", "active"): 2}, {"jira": 1}, {}, {("jira", "outage"): 1}, 3, timedelta(0))


async def test_nothing_is_told_unless_it_is_configured(settings_with: SettingsWith) -> None:
    async with open_telemetry(settings_with(), "api") as telemetry:
        assert telemetry.runtime is None
        assert telemetry.tracer is UNTRACED


async def test_a_scrape_shows_every_metric_of_the_list_under_its_name(settings_with: SettingsWith) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with open_telemetry(settings_with(metrics_address=address), "worker") as telemetry:
        measures = telemetry.measures
        measures.refreshed("jira", "credentialed")
        measures.renewed("jira", NOW, NOW)
        measures.delivery("delivered")
        measures.read("jira", "served")
        measures.answered("GET", "/health/live", 200, 0.003)
        measures.stands(STANDING, ["jira"], NOW)
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://{address}/metrics")).text
    names = {name for name in scraped_names(text) if name.startswith("authpipe_")}
    parts = {m.name: {f"{m.name}_{p}" for p in ("bucket", "sum", "count")} for m in METRICS if m.kind == "histogram"}
    assert names == set().union(*(parts.get(metric.name, {metric.name}) for metric in METRICS))
    for metric in METRICS:
        assert f"# TYPE {metric.name} {metric.kind}" in text
        for bucket in metric.buckets:
            assert f'le="{bucket:g}"' in text, metric.name
    assert 'authpipe_connections{kind="connection",provider="jira",state="active"} 2' in text
    assert "service_name" not in text


async def test_an_address_that_is_taken_is_refused_in_a_line(settings_with: SettingsWith) -> None:
    port = free_port()
    with listen("api_port", port):
        with pytest.raises(PortTakenError) as refused:
            async with open_telemetry(settings_with(metrics_address=f"127.0.0.1:{port}"), "worker"):
                pass
        assert "AUTHPIPE_METRICS_ADDRESS" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "::1:9464", "1.2.3.4:70000"]
)
def test_what_cannot_be_listened_on_is_no_address(
    settings_with: SettingsWith, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHPIPE_METRICS_ADDRESS", text)
    with pytest.raises(SettingsError, match="AUTHPIPE_METRICS_ADDRESS: must be an IP address and a port"):
        settings_with()


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "0.0.0.0:9464", "[::1]:9464", "[::]:9464", ""])
def test_addresses_of_both_kinds_are_taken(
    settings_with: SettingsWith, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHPIPE_METRICS_ADDRESS", text)
    assert settings_with().metrics_address == text


def test_in_development_the_worker_takes_the_next_port(settings_with: SettingsWith, tmp_path: Path) -> None:
    assert workers_own(settings_with()) == {}
    settings = settings_with(metrics_address="[::1]:9464")
    assert workers_own(settings) == {"AUTHPIPE_METRICS_ADDRESS": "[::1]:9465"}
