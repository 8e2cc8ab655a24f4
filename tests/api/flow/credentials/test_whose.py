"""Whose credential it is: never guessed, never another's."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from domain.life import Kind
from tests.api.flow.credentials.asking import refused

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.mark.parametrize(
    ("wish", "credential"),
    [
        ({"user_id": None}, "inst"),
        ({"user_id": None, "credential_for": "installation"}, "inst"),
        ({"credential_for": "installation"}, "inst"),
        ({}, "user"),
        ({"credential_for": "user"}, "user"),
        ({"installation_id": "inst_1"}, "user"),
        ({"user_id": None, "credential_for": "user"}, "tenant"),
        ({"user_id": None, "installation_id": "inst_1"}, "inst"),
        ({"user_id": None, "installation_id": "inst_1", "credential_for": "installation"}, "inst"),
    ],
)
async def test_whose_credential_it_is(ask: Ask, new_credential: Any, wish: dict[str, Any], credential: str) -> None:
    await new_credential(Kind.INSTALLATION, access="inst", id="inst_1")
    await new_credential(access="user", installation_id="inst_1")
    await new_credential(access="tenant", user_id="", installation_id="inst_1")
    answer = (await ask(**wish)).json()
    assert answer["credential"] == credential
    assert answer["source"] == ("installation" if credential == "inst" else "connection")
    assert ("installation_id" in answer) == (credential == "inst")


async def test_without_an_installation_the_tenants_connection_is_meant(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="tenant", user_id="")
    assert (await ask(user_id=None)).json()["credential"] == "tenant"


async def test_a_users_credential_without_a_user_is_refused(ask: Ask, new_credential: Any) -> None:
    await new_credential()
    assert refused(await ask(user_id=None, credential_for="user")) == (422, "user_required")


async def test_several_installations_are_a_choice_for_the_caller(ask: Ask, new_credential: Any) -> None:
    for name in ("a", "b"):
        await new_credential(
            Kind.INSTALLATION, access=name, id=f"inst_{name}", label=name, site_id=name, site_name=name
        )
    answer = await ask(user_id=None)
    assert refused(answer) == (409, "ambiguous")
    candidates = sorted(answer.json()["candidates"], key=lambda c: str(c["label"]))
    assert candidates == [{"installation_id": f"inst_{n}", "label": n, "site": n} for n in ("a", "b")]
    for name in ("a", "b"):
        assert (await ask(user_id=None, installation_id=f"inst_{name}")).json()["credential"] == name


async def test_several_configs_are_a_choice_for_the_caller(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="one", provider_config_id="cfg_1")
    await new_credential(access="two", provider_config_id="cfg_2")
    assert refused(await ask()) == (409, "ambiguous")
    assert (await ask(provider_config_id="cfg_2")).json()["credential"] == "two"


async def test_the_one_active_among_many_dead_ones_is_found(ask: Ask, new_credential: Any) -> None:
    for number in range(8):
        dead = {"status": "needs_reauth", "label": f"l{number}", "id": f"inst_{number}"}
        await new_credential(Kind.INSTALLATION, access=f"dead-{number}", **dead)
    await new_credential(Kind.INSTALLATION, access="alive", id="inst_alive", label="alive")
    assert (await ask(user_id=None)).json()["credential"] == "alive"


async def test_another_tenants_installation_is_not_there(ask: Ask, new_credential: Any) -> None:
    await new_credential(Kind.INSTALLATION, access="theirs", id="inst_theirs", tenant_id="globex")
    assert refused(await ask(user_id=None, installation_id="inst_theirs")) == (404, "not_connected")


@pytest.mark.parametrize(
    "wish",
    [
        {"credential_for": "nobody"},
        {"min_ttl": -1},
        {"min_ttl": 1e300},
        {"min_ttl": 10**12},
        {"min_ttl": "soon"},
        {"min_ttl": 1.5},
        {"force_refresh": "perhaps"},
        {"tenant_id": "a\x00"},
        {"user_id": ""},
        {"unknown": 1},
    ],
)
async def test_a_bad_wish_names_the_field(ask: Ask, wish: dict[str, Any]) -> None:
    answer = await ask(**wish)
    assert refused(answer) == (422, "bad_request")
    assert answer.json()["errors"][0]["location"] == f"body.{next(iter(wish))}"


async def test_a_ciphertext_that_was_moved_does_not_open(ask: Ask, new_credential: Any, change: Any, rows: Any) -> None:
    """Law 8, seen from outside: another life's secret under this row is an error, never a credential."""
    from vault.tables import Credential

    mine = await new_credential(access="mine")
    theirs = await new_credential(access="theirs", user_id="user-2")
    by_life = {row.life_id: row for row in await rows(Credential)}
    await change(Credential, by_life[mine.id].id, sealed_access=by_life[theirs.id].sealed_access)
    answer = await ask()
    assert refused(answer) == (500, "seal_broken")
    assert "theirs" not in answer.text


async def test_two_connections_of_one_user_are_told_apart_by_label_or_id(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="of-work")
    home = await new_credential(access="of-home", label="home")
    answer = await ask()
    assert refused(answer) == (409, "ambiguous")
    for named in ("installation_id", "connection_id", "label", "provider_config_id"):
        assert named in answer.json()["detail"]
    assert (await ask(label="home")).json()["credential"] == "of-home"
    assert (await ask(label="default")).json()["credential"] == "of-work"
    assert (await ask(connection_id=home.id)).json()["credential"] == "of-home"
    assert (await ask(connection_id=home.id, user_id=None)).json()["credential"] == "of-home"


@pytest.mark.parametrize(
    "wish",
    [
        {"label": "other"},
        {"connection_id": "conn_other"},
        {"user_id": "user-2"},
        {"tenant_id": "globex"},
        {"credential_for": "installation", "user_id": None},
        {"connection_id": "conn_other", "credential_for": "user", "user_id": None},
    ],
)
async def test_a_named_connection_must_fit_all_else_that_is_said(
    ask: Ask, new_credential: Any, wish: dict[str, Any]
) -> None:
    life = await new_credential()
    await new_credential(Kind.INSTALLATION, access="of-the-team")
    assert refused(await ask(**{"connection_id": life.id} | wish)) == (404, "not_connected")
