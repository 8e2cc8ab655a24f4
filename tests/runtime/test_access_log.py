import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from activities.measures import Measures
from runtime.access_log import AccessLog


async def teapot(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("broken")


async def test_a_request_is_one_line_without_its_query() -> None:
    with capture_logs() as lines:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(AccessLog(teapot)), base_url="http://x") as client:
            await client.get("/oauth/callback?code=canary&state=canary")
    (line,) = lines
    assert (line["event"], line["status"]) == ("GET /oauth/callback", 418)
    assert "canary" not in str(line)


async def test_a_request_that_fails_is_logged_as_500() -> None:
    with capture_logs() as lines, pytest.raises(RuntimeError):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(AccessLog(broken)), base_url="http://x") as client:
            await client.get("/")
    assert lines[0]["status"] == 500


class Counting(Measures):
    """Keeps what it is told of requests."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str, int]] = []

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self.said.append((method, route, status))


async def test_a_line_and_a_measurement_name_the_route_and_not_the_path() -> None:
    """The path may be a link that was meant for one person."""
    app, counted = FastAPI(), Counting()
    app.get("/visit/{link}")(lambda link: link)
    with capture_logs() as lines:
        transport = httpx.ASGITransport(AccessLog(app, counted))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            await client.get("/visit/canary")
            await client.get("/nowhere" + "x" * 200)
    assert lines[0]["event"] == "GET /visit/{link}"
    assert lines[1]["event"] == "GET /nowhere" + "x" * 92
    assert counted.said == [("GET", "/visit/{link}", 200), ("GET", "none", 404)]
