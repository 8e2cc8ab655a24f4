"""The authorization endpoint: what it demands, who may sign in, what is sent back."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"audience": None}, "invalid_request"),
        ({"audience": "elsewhere"}, "invalid_request"),
        ({"prompt": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
async def test_a_bad_request_is_sent_back_with_its_state(sim: Any, changes: dict[str, Any], error: str) -> None:
    answer = sim.answer(await sim.open(**changes))
    assert (answer["error"], answer["state"]) == (error, "s-1")
    assert "iss" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"redirect_uri": None},
        {"redirect_uri": "https://elsewhere.example/callback"},
        {"redirect_uri": "http://localhost:5000/callback#"},
        {"redirect_uri": "http://localhost.elsewhere.example/callback"},
    ],
)
async def test_nothing_is_sent_to_a_redirect_uri_that_is_not_the_apps(sim: Any, changes: dict[str, Any]) -> None:
    page = await sim.open(**changes)
    assert page.status_code == 400
    assert "location" not in page.headers


async def test_a_repeated_parameter_is_refused(sim: Any) -> None:
    page = await sim.open()
    again = await sim.http.get(f"{page.request.url}&state=other")
    assert (page.status_code, again.status_code) == (200, 400)


async def test_a_registered_redirect_uri_matches_exactly(sim: Any) -> None:
    await sim.admin("POST", "apps", client_id="web", redirect_uris=["https://app.example/cb?x=1"])
    page = await sim.open(client_id="web", redirect_uri="https://app.example/cb?x=1")
    sent = await sim.decide(sim.request_id(page))
    assert sent.headers["location"].startswith("https://app.example/cb?x=1&code=")
    assert (await sim.open(client_id="web", redirect_uri="https://app.example/cb")).status_code == 400


async def test_a_denial_is_sent_back(sim: Any) -> None:
    page = await sim.open()
    answer = sim.answer(await sim.decide(sim.request_id(page), "deny"))
    assert (answer["error"], answer["state"]) == ("access_denied", "s-1")
    assert await sim.admin("GET", "grants") == []


async def test_a_request_is_decided_once(sim: Any) -> None:
    request_id = sim.request_id(await sim.open())
    assert (await sim.decide(request_id)).status_code == 303
    assert (await sim.decide(request_id)).status_code == 400


async def test_a_request_of_one_server_is_not_decided_at_the_other(sim: Any, plain: Any) -> None:
    assert (await plain.decide(sim.request_id(await sim.open()))).status_code == 400


async def test_each_person_is_offered_their_own_sites(sim: Any) -> None:
    request_id = sim.request_id(await sim.open())
    pages = {role: (await sim.decide(request_id, "", role)).text for role in ("admin", "member", "nosite")}
    offered = {role: page.count('name="site"') for role, page in pages.items()}
    assert offered == {"admin": 2, "member": 1, "nosite": 0}


async def test_a_site_the_person_does_not_reach_cannot_be_picked(sim: Any) -> None:
    request_id = sim.request_id(await sim.open())
    assert (await sim.decide(request_id, person="member", sites=["Acme Support"])).status_code == 400


@pytest.mark.parametrize("sites", [[], ["Acme Engineering"], ["Acme Engineering", "Acme Support"]])
async def test_the_token_reaches_the_sites_picked(sim: Any, sites: list[str]) -> None:
    token = (await sim.connect(sites=sites))["access_token"]
    assert await sim.sites(token) == set(sites)


async def test_the_consent_page_shows_what_was_asked_as_text(sim: Any) -> None:
    page = await sim.open(scope="<script>x</script>")
    consent = await sim.decide(sim.request_id(page), "")
    assert "<script>" not in consent.text
    assert "&lt;script&gt;" in consent.text


async def test_the_front_page_lists_people_and_admin_calls(sim: Any) -> None:
    page = (await sim.http.get("/")).text
    assert "outsider" in page
    assert "Acme Support" in page
    assert "POST /_admin/faults" in page
