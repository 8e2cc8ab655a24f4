"""The demo's own browser says where it went astray."""

import httpx
import pytest

from runtime.demo_visitor import Astray, Visitor

CALLBACK = "http://localhost/oauth/callback?state=s&code=c"


async def back(location: str) -> dict[str, str]:
    visitor = Visitor()
    await visitor.close()
    answer = httpx.Response(303, headers={"location": location})
    visitor.client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer))
    try:
        return (await visitor.come_back(CALLBACK)).said
    finally:
        await visitor.close()


async def test_a_callback_that_was_refused_is_no_return() -> None:
    with pytest.raises(Astray, match="session_used"):
        await back("/oauth/refused/session_used")


async def test_a_callback_that_was_taken_says_how_it_ended() -> None:
    assert await back("http://localhost/done?status=completed") == {"status": "completed"}
    assert await back("http://localhost/oauth/sites/sess_1") == {"session_id": "sess_1", "status": "awaiting_selection"}
