"""A request's line says whom it is about; and how reads of a credential end is counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import LogCapture

from activities.measures import Measures
from api.app import create_app
from api.deps import ApiDeps
from runtime.access_log import AccessLog

Lines = list[Any]


class Counting(Measures):
    """Keeps how reads ended."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[tuple[str, str]] = Counter()

    def read(self, provider: str, outcome: str) -> None:
        self.reads[(provider, outcome)] += 1


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged, with the names that the request was given."""
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[merge_contextvars, capture])
    yield capture.entries
    structlog.configure(**before)


@pytest.fixture
def counted() -> Counting:
    return Counting()


@pytest.fixture
async def logged(deps: ApiDeps, counted: Counting, new_key: Any) -> Any:
    """The API behind its log, asked with a secret key."""
    app = AccessLog(create_app(replace(deps, measures=counted)))
    headers = {"authorization": f"Bearer {await new_key()}", "x-request-id": "asked-1"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
        base_url="http://localhost:8080",
        headers=headers,
    ) as client:
        yield client


async def read(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    body = {"provider": "jira", "tenant_id": "acme", "user_id": "ann"} | changes
    return await client.post("/api/credentials", json=body)


async def test_a_read_says_whose_credential_it_was(
    logged: httpx.AsyncClient, lines: Lines, new_credential: Any
) -> None:
    life = await new_credential(user_id="ann", access="canary")
    assert (await read(logged)).status_code == 200
    (line,) = lines
    names = {name: line[name] for name in ("event", "status", "request_id", "life_id", "provider", "workflow_id")}
    assert names == {
        "event": "POST /api/credentials",
        "status": 200,
        "request_id": "asked-1",
        "life_id": life.id,
        "provider": "jira",
        "workflow_id": f"default/connection/jira/{life.id}",
    }
    assert "canary" not in str(lines)


async def test_the_next_request_is_about_nobody_again(
    logged: httpx.AsyncClient, lines: Lines, new_credential: Any
) -> None:
    await new_credential(user_id="ann")
    await read(logged)
    await logged.get("/health/live")
    assert "life_id" not in lines[-1]


async def test_a_consent_names_its_life_on_every_page_and_the_link_on_none(
    logged: httpx.AsyncClient, lines: Lines, config: Any, opening: Any, opened: Any, rows: Any
) -> None:
    session = await opened("installs")
    visited = await logged.get(session["authorization_url"])
    assert visited.status_code == 200
    await logged.get(f"/oauth/sessions/{session['session_id']}")
    told = [line for line in lines if "life_id" in line]
    assert [line["event"] for line in told] == ["GET /oauth/visit/{session_id}", "GET /oauth/sessions/{session_id}"]
    assert session["session_id"] not in str([line["event"] for line in lines])
    assert len({line["life_id"] for line in told}) == 1


async def test_each_end_of_a_read_is_counted(logged: httpx.AsyncClient, counted: Counting, new_credential: Any) -> None:
    await new_credential(user_id="ann")
    await read(logged)
    await read(logged)
    await read(logged, user_id="nobody")
    await read(logged, provider="canary")
    assert counted.reads[("jira", "served")] >= 2
    assert counted.reads[("jira", "not_connected")] == 1
    assert {provider for provider, _ in counted.reads} == {"jira"}, "a provider that is not there is no label"


async def test_a_read_that_the_database_fails_is_counted(
    logged: httpx.AsyncClient, counted: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr("api.credentials.reading.find", away)
    assert (await read(logged)).json()["code"] == "database_unavailable"
    assert counted.reads == {("jira", "database_unavailable"): 1}
