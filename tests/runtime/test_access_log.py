import httpx
import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

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
