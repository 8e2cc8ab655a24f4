"""Whatever is sent, every answer is one of the documented kinds: never a 500, never half a session."""

from typing import Any

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.flow.hosted import refused_with

PATHS = ("/oauth/installs", "/oauth/sessions", "/oauth/session-tokens", "/api/credentials")
NAMES = (
    "provider", "tenant_id", "user_id", "installation_id", "redirect_url", "scopes", "permissions", "label", "kind",
    "provider_config_id", "template_variables", "opener_origin", "credential_for", "min_ttl", "force_refresh",
)  # fmt: skip
GOOD = {"provider": "jira", "tenant_id": "acme", "redirect_url": "http://localhost:8080/done", "user_id": "ann"}

texts = st.text(max_size=40) | st.sampled_from(
    ["", "jira", "plain", "acme", "http://localhost:8080/done", "\x00", "\u202e", "https://", "//[", "http://[::1", "*"]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
bodies = values | st.dictionaries(st.sampled_from(NAMES) | texts, values, max_size=6).map(lambda d: GOOD | d)

quickly = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@quickly
@given(path=st.sampled_from(PATHS), body=bodies)
@example(path="/oauth/installs", body={"\x00": 1})
@example(path="/oauth/installs", body=GOOD | {"redirect_url": "http://[::1"})
async def test_no_body_breaks_the_api(client: httpx.AsyncClient, config: Any, path: str, body: Any) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code in (201, 400, 401, 403, 404, 409, 422), answer.text
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["code"]
        assert "Traceback" not in answer.text


@quickly
@given(query=st.dictionaries(st.sampled_from(["state", "code", "error", "iss", "x"]), texts, max_size=5))
async def test_no_query_breaks_the_callback(browser: Any, query: dict[str, str]) -> None:
    answer = await browser.http.get("/oauth/callback", params=query)
    assert refused_with(answer) == "state_unknown"


@quickly
@given(name=texts, tail=st.sampled_from(["", "/selection", "/complete"]))
async def test_no_id_breaks_a_path(client: httpx.AsyncClient, name: str, tail: str) -> None:
    from urllib.parse import quote

    path = f"/oauth/sessions/{quote(name, safe='', errors='surrogatepass')}{tail}"
    body = {"site_id": "x"} if tail == "/selection" else {"tenant_id": "acme"}
    answer = await (client.post(path, json=body) if tail else client.get(path))
    assert answer.status_code in (404, 405), answer.text
