"""The simulator's plain server tells of a withdrawn grant, and the life concerned is looked at."""

import base64
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from activities.checkup import check_up
from activities.ids import ids_of
from activities.messages import Ending, ProbeOrder
from vault.tables import Life

KEY = "whsec_" + base64.b64encode(b"what-plain-signs-with-01").decode()


@pytest.mark.parametrize("key", [KEY, KEY.replace("whsec_", "whsec_AAAA")])
async def test_a_grant_that_is_withdrawn_at_the_provider_is_noticed_by_its_message(
    app: FastAPI, simulator: FastAPI, provider: Any, app_config: Any, opened: Any, browser: Any, engine: Any, rows: Any,
    clock: Any, key: str,
) -> None:  # fmt: skip
    config = await app_config(provider_id="plain", signing_key=KEY)
    session = await opened("installs", provider="plain", provider_config_id=config.id)
    outcome = await browser.walk(session["authorization_url"])
    webhooks = simulator.state.world.webhooks
    webhooks.transport = httpx.ASGITransport(app)
    to = {"url": f"http://api/webhooks/plain?provider_config_id={config.id}", "signing_key": key}
    assert (await provider.post("/_admin/webhooks", json=to)).is_success
    (grant,) = (await provider.get("/_admin/grants")).json()
    clock.advance(minutes=10)
    woken = engine.heard("wake")
    assert (await provider.post(f"/_admin/grants/{grant['id']}/revoke")).is_success
    await webhooks.settled()
    (life,) = [row for row in await rows(Life) if row.id == outcome["installation_id"]]
    if key != KEY:
        assert (life.probe_at > clock(), engine.heard("wake")) == (True, woken)
        return
    assert (life.probe_at, engine.heard("wake")) == (clock(), woken + 1)
    report = await check_up(engine.deps, ProbeOrder(ids_of(life), life.generation))
    assert report.ending is Ending.TOKEN_REFUSED
