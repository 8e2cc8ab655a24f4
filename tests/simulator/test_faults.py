"""Faults on request, in process."""

import json
from typing import Any

import pytest

from simulator.faults import DroppedConnectionError


async def _fault(sim: Any, **fault: Any) -> None:
    await sim.admin("POST", "faults", **{"endpoint": "token", **fault})


async def test_a_fault_holds_for_the_next_calls_and_then_is_gone(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="status", status=429, times=2, body={"error": "slow"}, headers={"Retry-After": "7"})
    answers = [await sim.refresh(token) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].json(), answers[0].headers["retry-after"]) == ({"error": "slow"}, "7")
    assert (await sim.grant())["counters"]["refreshes"] == 1
    assert (await sim.admin("GET", "counters"))["token"] == 4


async def test_a_fault_without_times_holds_until_cleared(sim: Any) -> None:
    await _fault(sim, kind="status", times=None)
    assert [(await sim.refresh("x")).status_code for _ in range(3)] == [503, 503, 503]
    await sim.admin("DELETE", "faults", 204)
    assert (await sim.refresh("x")).status_code == 403


async def test_the_faults_of_one_endpoint_can_be_cleared(sim: Any) -> None:
    await _fault(sim, kind="status")
    await _fault(sim, endpoint="me", kind="status")
    await sim.admin("DELETE", "faults?endpoint=token", 204)
    assert [fault["endpoint"] for fault in await sim.admin("GET", "faults")] == ["me"]


async def test_a_fault_can_be_for_one_grant_type(sim: Any) -> None:
    code = await sim.consent()
    await _fault(sim, kind="status", grant_type="refresh_token")
    tokens = (await sim.exchange(code)).json()
    assert (await sim.refresh(tokens["refresh_token"])).status_code == 503


async def test_a_fault_can_be_for_one_app(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="status", client_id="another")
    assert (await sim.refresh(token)).status_code == 200
    await _fault(sim, kind="status", client_id=sim.client_id)
    assert (await sim.refresh(token)).status_code == 503


async def test_an_app_is_known_by_how_it_shows_itself(plain: Any) -> None:
    token = (await plain.connect())["refresh_token"]
    await _fault(plain, endpoint="plain.token", kind="status", client_id=plain.client_id)
    assert (await plain.refresh(token)).status_code == 503


async def test_a_connection_dropped_before_leaves_the_token_unused(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="drop_before")
    with pytest.raises(DroppedConnectionError):
        await sim.refresh(token)
    assert (await sim.lookup("refresh", token))["presented"] == 0


async def test_a_connection_dropped_after_leaves_the_token_rotated(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="drop_after")
    with pytest.raises(DroppedConnectionError):
        await sim.refresh(token)
    found = await sim.lookup("refresh", token)
    assert (found["outcomes"], found["current"], found["grant_alive"]) == ({"rotated": 1}, False, True)
    assert (await sim.refresh(token)).status_code == 200


@pytest.mark.parametrize(("after", "refreshes"), [(False, 0), (True, 1)])
async def test_an_answer_is_replaced_before_or_after_handling(sim: Any, after: bool, refreshes: int) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="html", after=after)
    answer = await sim.refresh(token)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await sim.grant())["counters"]["refreshes"] == refreshes


@pytest.mark.parametrize("field", ["expires_in", "refresh_token"])
async def test_a_field_can_be_missing_from_the_answer(sim: Any, field: str) -> None:
    complete = await sim.connect()
    await _fault(sim, kind=f"missing_{field}")
    answer = (await sim.refresh(complete["refresh_token"])).json()
    assert set(complete) - set(answer) == {field}


async def test_an_answer_can_be_cut_in_half(sim: Any) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="truncated")
    with pytest.raises(json.JSONDecodeError):
        (await sim.refresh(token)).json()


@pytest.mark.parametrize("after", [False, True])
async def test_a_delayed_call_is_handled(sim: Any, after: bool) -> None:
    token = (await sim.connect())["refresh_token"]
    await _fault(sim, kind="delay", seconds=0.01, after=after)
    assert (await sim.refresh(token)).status_code == 200


async def test_a_refusal_can_be_dropped_too(sim: Any) -> None:
    await _fault(sim, kind="drop_after")
    with pytest.raises(DroppedConnectionError):
        await sim.refresh("never-issued")
    assert (await sim.lookup("refresh", "never-issued"))["outcomes"] == {"unknown": 1}


async def test_every_endpoint_can_be_faulty(sim: Any, plain: Any) -> None:
    site = await sim.cloud_id("Acme Engineering")
    gets = {
        "authorize": "/authorize",
        "accessible-resources": "/oauth/token/accessible-resources",
        "me": "/me",
        "myself": f"/ex/jira/{site}/rest/api/3/myself",
        "search": f"/ex/jira/{site}/rest/api/3/search/jql",
        "plain.authorize": "/plain/authorize",
        "plain.whoami": "/plain/whoami",
        "plain.metadata": "/plain/.well-known/oauth-authorization-server",
    }
    posts = {
        "consent": "/authorize",
        "token": "/oauth/token",
        "plain.consent": "/plain/authorize",
        "plain.token": "/plain/token",
        "plain.revoke": "/plain/revoke",
        "plain.introspect": "/plain/introspect",
    }
    assert (gets | posts).keys() == (await sim.admin("GET", "counters")).keys()
    for endpoint, path in (gets | posts).items():
        await _fault(sim, endpoint=endpoint, kind="status", status=418)
        method = "GET" if endpoint in gets else "POST"
        assert (await sim.http.request(method, path)).status_code == 418, endpoint
