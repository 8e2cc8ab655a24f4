"""Bugs of peers in which a provider config that changed under a running call broke what ran."""

from typing import Any

import pytest

from activities.messages import Ending
from domain.life import AttemptState, Status
from domain.serving import Verdict
from tests.regressions.reading import served
from vault import configs

TOKEN = "/oauth/token"
ANOTHER_CALLBACK = "http://127.0.0.1:8080/moved/callback"


async def change(stage: Any, **fields: Any) -> None:
    config, deps = stage.configs["jira"], stage.deps
    await configs.change(deps.db, deps.sealer, "default", config.id, stage.clock.now, **fields)


async def test_a_secret_replaced_between_intent_and_send_costs_a_try_and_nothing_else(stage: Any) -> None:
    """The call went out with the secret it had read, was refused, and the connection was marked dead."""
    life = await stage.connected()
    before = await stage.secrets(life)

    async def replaced() -> None:
        await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="the-new-one")
        await change(stage, client_secret="the-new-one")

    stage.before_sending(TOKEN, replaced)
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    assert (await stage.row(life)).status == Status.ACTIVE
    assert await stage.secrets(life) == before
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_a_redirect_url_changed_between_visit_and_exchange_does_not_spoil_the_consent(stage: Any) -> None:
    """The exchange named the new URL, which is not the one the code was issued for, and the consent was lost."""
    life = await stage.life()
    session = await stage.come_back(life)
    await change(stage, oauth_redirect_url=ANOTHER_CALLBACK)
    assert (await stage.advance(life, session)).state is AttemptState.COMPLETED


@pytest.mark.parametrize("when", ["before", "while sending"])
async def test_a_config_that_is_disabled_goes_on_refreshing_and_serving(stage: Any, when: str) -> None:
    """Switching an app off for new connections ended those that were there."""
    life = await stage.connected()
    if when == "before":
        await change(stage, enabled=False)
    else:
        stage.before_sending(TOKEN, lambda: change(stage, enabled=False))
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    verdict, access = await served(stage, life)
    assert verdict.verdict is Verdict.SERVE
    assert await stage.valid("access", access)


async def test_a_consent_under_way_ends_although_its_config_is_disabled(stage: Any) -> None:
    """Sessions that were open when the app was switched off hung for ever."""
    life = await stage.life()
    session = await stage.come_back(life)
    await change(stage, enabled=False)
    assert (await stage.advance(life, session)).state is AttemptState.COMPLETED
