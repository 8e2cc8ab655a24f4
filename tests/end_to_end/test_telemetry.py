"""What the processes tell of themselves: every metric that an alert or a panel asks for, and whole traces."""

import os
import signal
from functools import partial

import pytest
from temporalio.client import Client

from activities.measures import METRICS
from tests.deploy.telemetry import named_labels, named_metrics, scraped_labels, scraped_names
from tests.end_to_end.receiver import receiving
from tests.end_to_end.test_law_01_canary import engine
from workflows.queues import LIFE_QUEUE

pytestmark = pytest.mark.slow  # runs in `make rehearse`

ONE = ("Acme Engineering",)


async def test_every_metric_and_label_that_an_alert_or_a_panel_asks_for_is_in_a_scrape(stack):
    app = await stack.app(token_lifetime=6)
    async with receiving() as receiver:
        assert (await stack.api.post("/api/webhook-config", json={"webhook_url": receiver.url})).is_success
        await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
        assert (await app.read("t", force_refresh=True)).is_success
        # What some alerts are for, and what must not happen otherwise.
        await the_engine_dies(stack)
        broken = await a_workflow_that_no_worker_can_run(await engine(stack))
        wanted = named_metrics() | {f"{m.name}_count" if m.kind == "histogram" else m.name for m in METRICS}

        async def all_there():
            scraped = await stack.scrape("api") + await stack.scrape("worker")
            missing[:] = sorted(wanted - scraped_names(scraped)) + sorted(named_labels() - scraped_labels(scraped))
            return not missing

        missing: list[str | tuple[str, str]] = []
        try:
            await stack.until(all_there)
        finally:
            print("not in a scrape:", missing)
            await broken.terminate()
    assert (await stack.api.delete("/api/webhook-config")).status_code == 204


async def the_engine_dies(stack) -> None:
    """Polls that wait get no answer; it is started again at once."""
    killed = stack.process("temporal")
    os.kill(killed.pid, signal.SIGKILL)

    async def back():
        running = stack.process("temporal")
        return running is not None and running.pid != killed.pid

    await stack.until(back)

    async def answers():
        return (await stack.api.get("/health/ready")).json()["status"] == "ready"

    await stack.until(answers)


async def a_workflow_that_no_worker_can_run(client: Client):
    return await client.start_workflow("NobodyKnowsIt", id="unknown-kind", task_queue=LIFE_QUEUE)


async def test_each_process_shows_its_own_metrics(stack):
    of = {name: scraped_names(await stack.scrape(name)) for name in ("api", "worker")}
    ours = {name: {m.name for m in METRICS if m.process == name and m.kind == "gauge"} for name in of}
    assert ours["worker"] <= of["worker"]
    assert not ours["worker"] & of["api"]


async def test_one_trace_leads_from_the_request_to_the_provider(stack):
    """The engine is real and between each two of them: API → workflow → activity → provider."""
    app = await stack.app(token_lifetime=30)
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")

    async def refreshed():
        return (await app.read("t", force_refresh=True)).json().get("refreshed")

    await stack.until(refreshed)
    whole = await stack.until(partial(a_whole_trace, stack, "POST /api/credentials", "HandleUpdate:ensure_fresh"))

    names = {span.name: span for span in whole}
    request, call = names["POST /api/credentials"], names["StartWorkflowUpdate:ensure_fresh"]
    heard, activity = names["HandleUpdate:ensure_fresh"], names["RunActivity:refresh"]
    provider = next(span for span in whole if span.parent_id == activity.span_id)
    assert [span.parent_id for span in (call, heard, activity)] == [request.span_id, call.span_id, heard.span_id]
    assert (request.service, activity.service) == ("authpipe-api", "authpipe-worker")
    assert provider.attributes["http.response.status_code"] == 200
    assert activity.attributes["request_id"]


async def test_a_consent_is_one_trace_from_the_callback_to_the_token_endpoint(stack):
    app = await stack.app()
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    whole = await stack.until(
        partial(a_whole_trace, stack, "GET /oauth/callback", "HandleSignal:authorization_returned")
    )
    assert "RunActivity:advance_attempt" in {span.name for span in whole}


async def a_whole_trace(stack, request: str, heard: str):
    """A trace that begins with such a request, was heard by a workflow, and led to a call of the provider."""
    for span in list(stack.collector.spans):
        if span.name == request and not span.parent_id:
            trace = stack.collector.trace_of(span)
            if heard in {s.name for s in trace} and any("server.address" in s.attributes for s in trace):
                return trace
    return None


async def test_a_refresh_that_nobody_asked_for_begins_a_trace_of_its_own(stack):
    app = await stack.app(token_lifetime=6)
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")

    async def by_the_clock():
        return [s for s in stack.collector.spans if s.name == "RunActivity:refresh" and not s.parent_id]

    spans = await stack.until(by_the_clock)
    assert "request_id" not in spans[0].attributes
