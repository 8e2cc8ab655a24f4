"""Who may ask: what each kind of key opens, and what no key opens."""

from typing import Any

import httpx
import pytest

from vault.tables import ApiKey

SECRET_ONLY = [
    ("POST", "/api/credentials", {"provider": "jira", "tenant_id": "acme"}),
    ("POST", "/oauth/session-tokens", {"provider": "jira", "tenant_id": "acme"}),
    ("POST", "/oauth/sessions/sess_x/complete", {"tenant_id": "acme"}),
    ("POST", "/api/connections/search", {}),
    ("POST", "/api/installations/search", {}),
    ("GET", "/api/connections/conn_x", None),
    ("POST", "/api/connections/conn_x", None),
    ("DELETE", "/api/connections/conn_x", None),
    ("GET", "/api/installations/inst_x", None),
    ("POST", "/api/installations/inst_x", None),
    ("DELETE", "/api/installations/inst_x", None),
    ("POST", "/api/provider-configs", {}),
    ("POST", "/api/provider-configs/search", {}),
    ("GET", "/api/provider-configs/cfg_x", None),
    ("PATCH", "/api/provider-configs/cfg_x", {}),
    ("DELETE", "/api/provider-configs/cfg_x", None),
    ("GET", "/api/connections/conn_x/explain", None),
    ("POST", "/api/connections/conn_x/report", {}),
    ("GET", "/api/installations/inst_x/explain", None),
    ("POST", "/api/installations/inst_x/report", {}),
    ("POST", "/api/events/search", {}),
    ("POST", "/api/events/evt_x/replay", None),
    ("GET", "/api/webhook-config", None),
    ("POST", "/api/webhook-config", {"webhook_url": "https://example.com"}),
    ("POST", "/api/webhook-config/rotate", None),
    ("DELETE", "/api/webhook-config", None),
    ("GET", "/api/api-keys", None),
    ("POST", "/api/api-keys", {"name": "x", "role": "secret"}),
    ("DELETE", "/api/api-keys/key_x", None),
]


async def test_law_07_a_publishable_key_or_session_token_opens_nothing_but_sessions(
    client: httpx.AsyncClient, page: httpx.AsyncClient, client_with: Any
) -> None:
    wish = {"provider": "jira", "tenant_id": "acme"}
    element = client_with((await client.post("/oauth/session-tokens", json=wish)).json()["token"])
    nobody = client_with("")
    for method, path, body in SECRET_ONLY:
        for http, status, code in (
            (page, 403, "forbidden"),
            (element, 401, "unauthenticated"),
            (nobody, 401, "unauthenticated"),
        ):
            answer = await http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path)
            challenge = 'Bearer realm="authpipe"' if status == 401 else None
            assert answer.headers.get("www-authenticate") == challenge


async def test_every_route_but_the_pages_and_health_wants_a_key(app: Any, client_with: Any) -> None:
    """A route that is added later and forgets its key is found here."""
    http, open_ = (
        client_with(""),
        (
            *("/oauth/visit/", "/oauth/callback", "/oauth/sites/", "/oauth/done/", "/oauth/refused/"),
            # The last shows the provider's signature instead.
            *("/health/", "/openapi.json", "/oauth/instance", "/webhooks/"),
        ),
    )
    for path, methods in app.openapi()["paths"].items():
        if path.startswith(open_):
            continue
        for method, said in methods.items():
            url = path.replace("{", "").replace("}", "")
            answer = await http.request(method, url, json={"site_id": "x"} if "requestBody" in said else None)
            # A site may be chosen without a key, by cookie; there an unknown session is looked up first.
            assert answer.status_code == (404 if path.endswith("/selection") else 401), (method, path)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer ap_sk_",
        "Bearer ap_sk_" + "x" * 43,
        "Bearer ap_sk_\xe9\xff",
        "Bearer " + "x" * 10_000,
        "Bearer ap_st_",
        "bearer nonsense nonsense",
        "ap_sk_x",
    ],
)
async def test_a_key_that_is_none_opens_nothing(client_with: Any, header: str) -> None:
    http = client_with("")
    for path in ("/oauth/installs", "/api/credentials"):
        answer = await http.post(path, json={}, headers={b"authorization": header.encode("latin-1")})
        assert answer.status_code == 401
        assert answer.json()["code"] in ("unauthenticated", "session_token_spent")


async def test_a_publishable_key_in_the_guise_of_a_secret_one_is_unknown(client_with: Any, new_key: Any) -> None:
    key = await new_key(role="publishable")
    http = client_with(key.replace("ap_pk_", "ap_sk_"))
    assert (await http.post("/api/credentials", json={"provider": "jira", "tenant_id": "a"})).status_code == 401


async def test_a_revoked_key_is_believed_for_five_seconds_at_most(
    client: httpx.AsyncClient, clock: Any, db: Any, rows: Any, change: Any
) -> None:
    """Revoked in this process it is forgotten at once; elsewhere, after the time that a key is remembered."""
    asked = {"provider": "jira", "tenant_id": "acme"}
    assert (await client.post("/api/credentials", json=asked)).status_code == 404
    (key,) = await rows(ApiKey)
    await change(ApiKey, key.id, revoked_at=clock())
    clock.advance(seconds=5)
    assert (await client.post("/api/credentials", json=asked)).status_code == 401


async def test_a_key_of_another_workspace_finds_nothing(
    stranger: httpx.AsyncClient, client: httpx.AsyncClient, new_credential: Any
) -> None:
    await new_credential()
    asked = {"provider": "jira", "tenant_id": "acme", "user_id": "user-1"}
    assert (await client.post("/api/credentials", json=asked)).status_code == 200
    answer = await stranger.post("/api/credentials", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_connected")
