"""No route answers 500, whatever it is sent: every answer is the route's own or problem JSON."""

import json
from typing import Any

import httpx
import pytest

from api.app import openapi_document

GOOD_CONFIG = {
    "provider_id": "jira",
    "client_id": "client",
    "client_secret": "canary-secret",
    "oauth_redirect_url": "https://app.example.com/oauth/callback",
    "attachment": "user",
    "enabled": True,
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/api-keys": {"name": "x", "role": "secret"},
    "POST /api/provider-configs": GOOD_CONFIG,
    "PATCH /api/provider-configs/{id}": GOOD_CONFIG,
    "POST /oauth/installs": {"provider": "jira", "tenant_id": "t", "redirect_url": "https://app.example.com"},
    "POST /oauth/sessions": {"provider": "jira", "tenant_id": "t", "redirect_url": "https://app.example.com"},
    "POST /oauth/session-tokens": {"provider": "jira", "tenant_id": "t", "redirect_url": "https://app.example.com"},
    "POST /oauth/sessions/{session_id}/selection": {"site_id": "s"},
    "POST /oauth/sessions/{session_id}/complete": {"user_id": "u"},
    "POST /api/connections/{id}/report": {"status": 401, "generation": 1},
    "POST /api/installations/{id}/report": {"status": 401, "generation": 1},
    "POST /api/webhook-config": {"webhook_url": "https://192.0.2.1/hook", "refreshed": True},
    "POST /api/events/search": {"query": "x", "cursor": "x", "filter": {"id": {"eq": "x"}}},
    "POST /webhooks/{provider}": {"type": "revoked"},
    "POST /api/credentials": {"provider": "jira", "tenant_id": "t", "user_id": "u"},
    "POST /api/connections/search": {"query": "x", "cursor": "x", "filter": {"id": {"eq": "x"}}},
    "POST /api/installations/search": {"query": "x", "cursor": "x", "filter": {"id": {"eq": "x"}}},
    "POST /api/provider-configs/search": {"query": "x", "cursor": "x", "filter": {"id": {"eq": "x"}}},
    "POST /api/providers/search": {"query": "x", "cursor": "x", "filter": {"id": {"eq": "x"}}},
}
NO_JSON = {
    "nothing": b"",
    "half an object": b'{"provider": ',
    "no UTF-8": b"\xff\xfe{}",
    "another value": b"[1, 2]",
    "a bare NaN": b"NaN",
    "an endless number": b"[" + b"9" * 5000 + b"]",
    "too deep": b"[" * 30_000,
    "deep but closed": b'{"filter": {"id": {"eq": ' + b"[" * 400 + b"]" * 400 + b"}}}",
    "too large": b'{"a": "' + b"x" * 70_000 + b'"}',
}
VALUES: dict[str, Any] = {
    "null": None,
    "a number": 1,
    "a float": 1e308,
    "an object": {"a": 1},
    "a list": [[]],
    "empty": "",
    "over-long": "x" * 5000,
    "a control character": "a\nb",
    "NUL": "a\0b",
    "half a surrogate pair": "\ud800",
    "right-to-left": "\u202egpj",
    "SQL": "'; DROP TABLE life; --",
    "a wildcard": "%",
}
AS_JSON = {"content-type": "application/json"}
PATHS = ("%00", "%ff", "..%2f..%2f", "x" * 3000, "%F0%9F%92%A9", "'%20OR%201=1", "conn_a%0d%0aSet-Cookie:x")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


def operations() -> list[tuple[str, str]]:
    return [(m.upper(), path) for path, methods in openapi_document()["paths"].items() for m in methods]


def test_every_route_that_takes_a_body_is_tried_here() -> None:
    document = openapi_document()["paths"]
    taking = {f"{m.upper()} {path}" for path, ms in document.items() for m, o in ms.items() if "requestBody" in o}
    assert taking == BODIES.keys()


def _acceptable(answer: httpx.Response, what: object) -> None:
    assert answer.status_code < 500, (what, answer.status_code, answer.text)
    assert "canary" not in answer.text or answer.status_code < 400, what
    assert "Traceback" not in answer.text, what
    if answer.status_code >= 400 and "html" not in answer.headers["content-type"]:
        assert answer.json()["code"], what


async def test_a_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient) -> None:
    for route in BODIES:
        method, path = route.split()
        for name, content in NO_JSON.items():
            answer = await client.request(
                method,
                path.replace("{", "").replace("}", ""),
                content=content,
                headers=AS_JSON,
            )
            _acceptable(answer, (route, name))
            assert answer.status_code >= 400, (route, name)


async def test_a_rough_value_in_any_field_is_refused_or_harmless(client: httpx.AsyncClient) -> None:
    for route, good in BODIES.items():
        method, path = route.split()
        for field in (*good, "unknown\ud800"):
            for name, value in VALUES.items():
                content = json.dumps(good | {field: value}).encode()
                answer = await client.request(
                    method,
                    path.replace("{", "").replace("}", ""),
                    content=content,
                    headers=AS_JSON,
                )
                _acceptable(answer, (route, field, name))


async def test_a_rough_filter_is_refused_or_harmless(client: httpx.AsyncClient) -> None:
    for name, value in VALUES.items():
        for condition in (
            {"eq": value},
            {"contains": value},
            {"in": [value]},
            {"exists": value},
            value,
            {str(value): 1},
        ):
            for body in ({"filter": {"tenant_id": condition}}, {"filter": {str(value): {"eq": 1}}}):
                content = json.dumps(body).encode()
                answer = await client.post("/api/connections/search", content=content, headers=AS_JSON)
                _acceptable(answer, (name, body))


async def test_a_rough_id_in_a_path_is_not_there(client: httpx.AsyncClient) -> None:
    for method, path in operations():
        if "{" not in path:
            continue
        for rough in PATHS:
            prefix, _, rest = path.partition("{")
            url = prefix + rough + rest.partition("}")[2]
            answer = await client.request(method, url, json=BODIES.get(f"{method} {path}"))
            _acceptable(answer, (method, url))
            assert answer.status_code in (404, 405), (method, url, answer.status_code)


@pytest.mark.parametrize("key", ["", "ap_sk_", "ap_sk_\u00e9", "ap_st_x", "x" * 5000, "ap_sk_\x00"])
async def test_a_rough_key_opens_nothing(app: Any, key: str) -> None:
    headers = {b"authorization": b"Bearer " + key.encode()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api", headers=headers) as client:
        for method, path in (("GET", "/api/api-keys"), ("POST", "/oauth/sessions"), ("GET", "/oauth/sessions/x")):
            answer = await client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code in (401, 422), (path, answer.text)


async def test_a_rough_query_is_refused_or_harmless(client: httpx.AsyncClient) -> None:
    for query in (
        "limit=x",
        "limit=1e9",
        "offset=-1",
        "limit=" + "9" * 5000,
        "search=%00",
        "category=%ff",
        "cascade=x",
    ):
        for path in ("/providers", "/api/provider-configs/cfg_x", "/oauth/callback", "/health/ready"):
            for method in ("GET", "DELETE"):
                _acceptable(await client.request(method, f"{path}?{query}"), (path, query))
