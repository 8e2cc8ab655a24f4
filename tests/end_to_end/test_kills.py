"""Kill -9 in the middle of a life: a restart goes on, with the same connection and no grant lost."""

import asyncio
import os
import signal

import pytest

ONE = ("Acme Engineering",)


async def connected(stack, **rules):
    app = await stack.app(**rules)
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")

    async def serves():
        return (await app.read("t")).status_code == 200

    await stack.until(serves)
    return app


# The worker and the API are killed in tests/crash as well.
@pytest.mark.parametrize(
    "part", [pytest.param("worker", marks=pytest.mark.slow), pytest.param("api", marks=pytest.mark.slow), "temporal"]
)
async def test_a_life_goes_on_after_a_part_was_killed(stack, part):
    app = await connected(stack, token_lifetime=8)
    before = (await app.read("t")).json()
    killed = stack.process(part)
    os.kill(killed.pid, signal.SIGKILL)

    async def restarted():
        running = stack.process(part)
        return running is not None and running.pid != killed.pid

    async def refreshed_twice():
        read = await app.read("t")
        return read.status_code == 200 and read.json()["generation"] >= before["generation"] + 2 and read.json()

    await stack.until(restarted)
    after = await stack.until(refreshed_twice, 60)
    (grant,) = await app.grants()
    assert after["installation_id"] == before["installation_id"]
    assert grant["alive"]
    assert grant["counters"]["reuses_outside"] == 0


async def test_a_worker_killed_between_the_answer_and_the_commit_loses_no_grant(stack):
    """The provider rotated and its answer is lost: the same token is sent again inside the replay window."""
    app = await connected(stack, token_lifetime=40)
    fault = {"endpoint": "token", "kind": "drop_after", "times": 1, "grant_type": "refresh_token"}
    await stack.simulator.post("/_admin/faults", json=fault)
    # Read after the fault is in place: a refresh that was due by itself before it would count as the one that met it.
    before = (await app.read("t")).json()

    async def refreshed():
        read = await app.read("t", force_refresh=True)
        return read.status_code == 200 and read.json()["generation"] > before["generation"]

    await stack.until(refreshed, 60)
    (grant,) = await app.grants()
    assert grant["alive"]
    assert grant["counters"]["replays_inside"] == 1


async def test_a_worker_that_is_told_to_end_commits_what_it_has_asked_for(stack):
    """The answer is on its way for longer than other work is given to end, and it is not asked for a second time."""
    app = await connected(stack, token_lifetime=40)
    before = (await app.read("t")).json()
    slow = {"endpoint": "token", "kind": "delay", "seconds": 7, "after": True, "grant_type": "refresh_token"}
    await stack.simulator.post("/_admin/faults", json={**slow, "client_id": app.client_id})
    worker = stack.process("worker")

    async def committed():
        read = await app.read("t", force_refresh=True)
        return read.status_code == 200 and read.json()["generation"] > before["generation"]

    asking = asyncio.create_task(stack.until(committed, 60))

    async def rotated():
        (grant,) = await app.grants()
        return grant["counters"]["refreshes"] == 1

    await stack.until(rotated)
    os.kill(worker.pid, signal.SIGTERM)
    await asking
    (grant,) = await app.grants()
    assert (grant["alive"], grant["counters"]["refreshes"]) == (True, 1)
    assert (grant["counters"]["replays_inside"], grant["counters"]["reuses_outside"]) == (0, 0)


async def test_a_valid_credential_is_served_while_the_engine_stands_still(stack):
    app = await connected(stack)
    engine = stack.process("temporal")
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        reads = [await app.read("t") for _ in range(20)]
        opening = await stack.api.post(
            "/oauth/installs",
            json={
                "provider": "jira",
                "provider_config_id": app.config_id,
                "tenant_id": "other",
                "redirect_url": stack.callback,
            },
        )
        ready = await stack.api.get("/health/ready")
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    assert [read.status_code for read in reads] == [200] * 20
    assert (opening.status_code, opening.json().get("code")) == (503, "temporal_unavailable"), opening.text
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["parts"]["temporal"] != "ok"
