"""Every answer says under which id its request was logged."""

import re

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from activities.causes import span
from api.request_ids import RequestIds
from domain.identity import names_in

MADE = re.compile(r"[0-9a-f]{16}")


async def test_a_request_without_an_id_is_given_one(client: httpx.AsyncClient) -> None:
    first, second = [(await client.get("/health/live")).headers["x-request-id"] for _ in range(2)]
    assert MADE.fullmatch(first)
    assert first != second


@pytest.mark.parametrize("given", ["a", "8f14e45f-ceea-4672-9d2b-0b1f3c1a2b3c", "x" * 64, "A.b_c-1"])
async def test_an_id_that_is_well_formed_is_kept(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/health/live", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "with space", "-begins", "a/b", "a\tb", "ä", "<script>", "a,b"])
async def test_an_id_that_is_not_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/health/live", headers={"X-Request-Id": given.encode()})
    assert MADE.fullmatch(answer.headers["x-request-id"])


async def test_a_problem_names_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": "asked-1"})
    assert answer.status_code == 404
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "asked-1"


async def test_what_cannot_be_read_is_named_too(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/credentials", content=b"{", headers={"X-Request-Id": "asked-2"})
    assert answer.json()["request_id"] == "asked-2"


def test_a_workflows_id_tells_whose_it_is() -> None:
    assert names_in("default/connection/jira/conn_1") == {"provider": "jira", "life_id": "conn_1"}
    assert names_in("default/provider-config/jira/cfg_1") == {"provider": "jira", "provider_config_id": "cfg_1"}
    assert names_in("default/events") == names_in("authpipe-reconcile-daily") == names_in("") == {}


async def test_the_lines_of_a_traced_request_name_its_trace() -> None:
    names = []

    async def innermost(_scope: Scope, _receive: Receive, _send: Send) -> None:
        names.append(get_contextvars())

    with span(TracerProvider().get_tracer("test"), "request") as told:
        await RequestIds(innermost)({"type": "http", "headers": []}, no_receive, no_send)
    assert names[0]["trace_id"] == f"{told.get_span_context().trace_id:032x}"


async def no_receive() -> Message:
    raise AssertionError


async def no_send(_message: Message) -> None:
    raise AssertionError
