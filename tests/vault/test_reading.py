from dataclasses import replace
from typing import Any

import pytest

from domain.life import Kind, Status
from vault import reading
from vault.crypto import SealBroken, Sealer
from vault.database import Database
from vault.deletions import entomb
from vault.lives import compare_and_set
from vault.reading import Wanted
from vault.tables import Life

USER = Wanted("default", "jira", "acme", (Kind.CONNECTION,), user_id="ann")
TEAM = Wanted("default", "jira", "acme", (Kind.INSTALLATION,))


@pytest.fixture
def active(db: Database, new_life: Any, new_current: Any, row_of: Any, now: Any) -> Any:
    """`await active(kind, …)`: a life with a credential."""

    async def make(kind: Kind = Kind.CONNECTION, **key: Any) -> Life:
        if kind is Kind.CONNECTION:
            key = {"user_id": "ann", **key}
        life = await new_life(kind, **key)
        await new_current(life)
        async with db.transaction() as tx:
            await compare_and_set(tx, life, now, status=Status.ACTIVE, generation=1)
        return await row_of(life)

    return make


async def found(db: Database, wanted: Wanted) -> set[str]:
    return {row.id for row in await reading.find(db, wanted)}


async def test_a_read_finds_the_credential_and_opens_it(db: Database, sealer: Sealer, active: Any, now: Any) -> None:
    life = await active()
    (row,) = await reading.find(db, USER)
    assert (row.id, row.status, row.generation, row.refreshable, row.issued_at) == (life.id, "active", 1, True, now)
    assert await reading.open_access(sealer, row) == "canary-a"
    assert "canary" not in repr(row)
    assert await reading.find_one(db, life.id) == row


async def test_a_read_is_one_select(db: Database, sealer: Sealer, active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await active()
    (row,) = await reading.find(db, USER)
    await reading.open_access(sealer, row)  # the tenant's key is cached now
    driver, said = db._direct._driver, list[str]()
    fetch = driver.fetch

    async def listening(text: str, arguments: Any) -> Any:
        said.append(text)
        return await fetch(text, arguments)

    monkeypatch.setattr(driver, "fetch", listening)
    (row,) = await reading.find(db, USER)
    await reading.open_access(sealer, row)
    assert [statement.split()[0] for statement in said] == ["SELECT"]


async def test_what_is_preferred_comes_first_and_no_limit_hides_it(
    db: Database, active: Any, monkeypatch: pytest.MonkeyPatch, now: Any, clock: Any
) -> None:
    connections = []
    for number in range(3):
        clock.advance(seconds=1)  # of one age either may come first
        connections.append(await active(label=str(number)))
    async with db.transaction() as tx:
        await compare_and_set(tx, connections[0], now, status=Status.NEEDS_REAUTH, reason="grant_revoked")
    installation = await active(Kind.INSTALLATION)
    first = [installation.id, connections[1].id, connections[2].id, connections[0].id]
    assert [row.id for row in await reading.find(db, Wanted("default", "jira", "acme", tuple(Kind)))] == first[:1]
    assert [row.id for row in await reading.find(db, USER)] == first[1:]
    monkeypatch.setattr(reading, "MOST", 2)
    for name in ("_query", "_preferred"):  # they hold the limit
        monkeypatch.setattr(reading, name, getattr(reading, name).__wrapped__)
    assert [row.id for row in await reading.find(db, USER)] == first[1:3]


@pytest.mark.parametrize(
    "other",
    [
        {"workspace_id": "two"},
        {"tenant_id": "other"},
        {"provider_id": "plain"},
        {"user_id": "bob"},
        {"user_id": ""},
        {"kinds": (Kind.INSTALLATION,)},
        {"installation_id": "inst_2"},
        {"provider_config_id": "cfg_2"},
    ],
)
async def test_nobody_elses_credential_is_found(db: Database, active: Any, other: dict[str, Any]) -> None:
    await active()
    assert await found(db, replace(USER, **other)) == set()


async def test_kinds_are_not_mixed_and_an_installation_is_named_by_its_id(db: Database, active: Any) -> None:
    installation = await active(Kind.INSTALLATION)
    second = await active(Kind.INSTALLATION, label="second")
    connection = await active(installation_id=installation.id)
    assert await found(db, TEAM) == {installation.id, second.id}
    assert await found(db, replace(TEAM, installation_id=second.id)) == {second.id}
    assert await found(db, replace(USER, installation_id=installation.id)) == {connection.id}
    assert await found(db, replace(USER, installation_id=second.id)) == set()


async def test_a_life_that_was_never_active_or_is_deleted_is_not_found(
    db: Database, active: Any, new_life: Any, new_candidate: Any, now: Any
) -> None:
    pending = await new_life(user_id="ann")
    await new_candidate(pending)
    assert await found(db, USER) == set()
    assert await reading.find_one(db, pending.id) is None
    deleted = await active(user_id="bob")
    await entomb(db, deleted.id, now)
    assert await found(db, replace(USER, user_id="bob")) == set()


async def test_a_life_that_needs_the_user_is_found_with_its_reason(db: Database, active: Any, now: Any) -> None:
    life = await active()
    async with db.transaction() as tx:
        await compare_and_set(tx, life, now, status=Status.NEEDS_REAUTH, reason="grant_revoked")
    (row,) = await reading.find(db, USER)
    assert (row.status, row.reason) == ("needs_reauth", "grant_revoked")


async def test_a_row_that_was_moved_to_another_tenant_does_not_open(db: Database, sealer: Sealer, active: Any) -> None:
    await active()
    (row,) = await reading.find(db, USER)
    with pytest.raises(SealBroken):
        await reading.open_access(sealer, replace(row, tenant_id="other"))
