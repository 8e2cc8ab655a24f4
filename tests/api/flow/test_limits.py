"""What a request may send at most."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.parametrize("path", ["/oauth/installs", "/api/credentials", "/api/provider-configs"])
async def test_a_body_over_64_kib_is_refused_declared_or_not(client: httpx.AsyncClient, path: str) -> None:
    headers = {"content-type": "application/json"}
    declared = await client.post(path, content=b" " * (64 * 1024 + 1), headers=headers)
    assert (declared.status_code, declared.json()["code"]) == (413, "body_too_large")
    streamed = await client.post(path, content=chunks(65), headers=headers)
    assert (streamed.status_code, streamed.json()["code"]) == (413, "body_too_large")


async def test_a_body_of_64_kib_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/credentials", content=b" " * 65536, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


async def test_a_wrong_method_is_a_problem(client: httpx.AsyncClient, browser: Any) -> None:
    for method, path in (("PUT", "/api/credentials"), ("DELETE", "/oauth/callback"), ("POST", "/oauth/visit/x")):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
