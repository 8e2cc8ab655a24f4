"""Rows of installations and connections: finding, making, and changing them by compare-and-set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Update, and_, bindparam, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import ENDED, Kind, Status
from vault.database import Database
from vault.direct import Tx
from vault.ids import new_id
from vault.tables import AuthSession, Life, ProviderConfig, plain

LIFE = plain(Life)


class LostRace(Exception):
    """Somebody wrote the row between our read and our write; read it again and decide anew."""


@dataclass(frozen=True, slots=True)
class LifeKey:
    """What makes a living row unique: one life for each."""

    workspace_id: str
    kind: Kind
    provider_config_id: str
    tenant_id: str
    user_id: str = ""
    installation_id: str = ""
    label: str = "default"


async def find_or_create(
    db: Database, key: LifeKey, provider_id: str, attachment: str, scopes: list[str], now: datetime
) -> Life:
    """The living row of `key`. Two callers at once get the same one: the unique index decides."""
    async with db.reading() as tx:
        found = await _living(tx, key)
    if found:
        return found
    life = Life(
        id=new_id("inst" if key.kind is Kind.INSTALLATION else "conn"),
        workspace_id=key.workspace_id,
        kind=key.kind,
        provider_id=provider_id,
        provider_config_id=key.provider_config_id,
        tenant_id=key.tenant_id,
        user_id=key.user_id,
        installation_id=key.installation_id,
        label=key.label,
        attachment=attachment,
        status=Status.PENDING,
        requested_scopes=scopes,
        created_at=now,
        updated_at=now,
    )
    try:
        async with db.transaction() as tx:
            tx.add(life)
    except IntegrityError:
        async with db.reading() as tx:
            found = await _living(tx, key)
        if found is None:
            raise
        return found
    return life


async def get_life(tx: AsyncSession, life_id: str) -> Life | None:
    """One row by id, living or not. The caller checks the workspace."""
    return await tx.get(Life, life_id, populate_existing=True)


async def compare_and_set(tx: Tx, life: Life, now: datetime, **values: Any) -> None:
    """Write `values` if nobody wrote since `life` was read; else raise `LostRace` and let the transaction roll back."""
    seen = {"seen_id": life.id, "seen_revision": life.revision, "seen_generation": life.generation}
    changed = {**values, "revision": life.revision + 1, "updated_at": now}
    written = await tx.exec(_compare_and_set(tuple(changed)), params={**seen, **changed})
    if written.rowcount != 1:
        raise LostRace(life.id)


@cache
def _compare_and_set(names: tuple[str, ...]) -> Update:
    seen = (LIFE.c[name] == bindparam(f"seen_{name}") for name in ("id", "revision", "generation"))
    return update(LIFE).where(*seen).values({name: bindparam(name) for name in names})


async def allot_generation(tx: AsyncSession, life: Life) -> int:
    """Take the next generation number. It is never used twice, whatever becomes of the attempt that took it."""
    statement = (
        update(Life)
        .where(col(Life.id) == life.id)
        .values(next_generation=Life.next_generation + 1)
        .returning(col(Life.next_generation))
        .execution_options(synchronize_session=False)
    )
    return int((await tx.exec(statement)).scalar_one()) - 1


async def claim_generation(tx: Tx, life_id: str, seen: int) -> int | None:
    """Lock the row and take its next generation number, if it is active and its generation is the one seen.

    One statement for what `lock_life` and `allot_generation` do. Who does not use the number rolls back.
    """
    after = (await tx.exec(_CLAIM, params={"seen_id": life_id, "seen_generation": seen})).scalar_one_or_none()
    return None if after is None else int(after) - 1


async def lock_in_order(tx: AsyncSession, *which: ColumnElement[bool]) -> dict[str, Life]:
    """Every row that meets one of the conditions, locked until the transaction ends.

    In the order of their ids, and before anything else is locked: two who need several never wait in a circle.
    """
    query = select(Life).where(or_(*which)).order_by(col(Life.id)).with_for_update()
    rows = (await tx.exec(query.execution_options(populate_existing=True))).all()
    return {row.id: row for row in rows}


def itself(life_id: str) -> ColumnElement[bool]:
    """The row of that id."""
    return col(Life.id) == life_id


def sharing(grant_id: str) -> ColumnElement[bool]:
    """The active rows of a grant; none where the account cannot be told."""
    return and_(col(Life.grant_id) == grant_id, col(Life.grant_id) != "", is_serving())


def active_of(config_id: str, account_id: str) -> ColumnElement[bool]:
    """The active rows of an account at a config; none where the account cannot be told."""
    theirs = and_(col(Life.provider_config_id) == config_id, col(Life.account_id) == account_id)
    return and_(theirs, col(Life.account_id) != "", is_serving())


def is_serving() -> ColumnElement[bool]:
    """Active, and nobody asked for its deletion."""
    return and_(col(Life.status) == Status.ACTIVE, col(Life.deleted_at).is_(None))


_CLAIM = (
    update(LIFE)
    .where(LIFE.c.id == bindparam("seen_id"), LIFE.c.generation == bindparam("seen_generation"))
    .where(LIFE.c.status == Status.ACTIVE, LIFE.c.deleted_at.is_(None))  # `is_serving`
    .values(next_generation=LIFE.c.next_generation + 1)
    .returning(LIFE.c.next_generation)
)


def with_account(rows: Mapping[str, Life], account_id: str) -> list[Life]:
    """Those of the rows that are of an account; none where the account cannot be told."""
    return [row for row in rows.values() if account_id and row.account_id == account_id]


async def ask_for_probe(tx: AsyncSession, rows: Iterable[Life], now: datetime) -> None:
    """Mark locked rows: the provider is to be asked whether their credentials still work."""
    marked = update(Life).where(col(Life.id).in_([row.id for row in rows])).values(probe_at=now)
    await tx.exec(marked.execution_options(synchronize_session=False))


async def vouching(tx: AsyncSession, life: Life, doubt: str, since: datetime) -> tuple[bool, int]:
    """Whether another life of the config was found well after `since`, and of how many tenants `doubt` is held."""
    theirs = (col(Life.provider_config_id) == life.provider_config_id, is_serving())
    well = select(Life.id).where(*theirs, col(Life.id) != life.id, Life.doubt == "", col(Life.probed_at) > since)
    doubted = select(func.count(func.distinct(col(Life.tenant_id)))).where(*theirs, Life.doubt == doubt)
    return (await tx.exec(well.limit(1))).first() is not None, (await tx.exec(doubted)).one()


async def of_account(tx: AsyncSession, config: ProviderConfig, account_id: str) -> bool:
    """Whether a living row uses the grant of that account at the app of `config`, in whatever config and workspace."""
    if not account_id:
        return False
    query = (
        select(Life.id)
        .join(ProviderConfig, col(ProviderConfig.id) == col(Life.provider_config_id))
        .where(*_same_app(config), Life.account_id == account_id, col(Life.deleted_at).is_(None))
        .limit(1)
    )
    return (await tx.exec(query)).first() is not None


async def awaited_of_account(tx: AsyncSession, config: ProviderConfig, account_id: str, but: str) -> bool:
    """Whether an attempt other than `but` is under way that may have brought a consent of that account."""
    query = (
        select(AuthSession.id)
        .join(ProviderConfig, col(ProviderConfig.id) == col(AuthSession.provider_config_id))
        .where(
            *_same_app(config),
            AuthSession.id != but,
            col(AuthSession.account_id).in_(["", account_id]),
            col(AuthSession.consumed_at).is_not(None),
            col(AuthSession.state).not_in(ENDED),
        )
        .limit(1)
    )
    return (await tx.exec(query)).first() is not None


def _same_app(config: ProviderConfig) -> tuple[ColumnElement[bool], ...]:
    return (
        col(ProviderConfig.provider_id) == config.provider_id,
        col(ProviderConfig.client_id) == config.client_id,
    )


async def _living(tx: AsyncSession, key: LifeKey) -> Life | None:
    query = select(Life).where(
        Life.workspace_id == key.workspace_id,
        Life.kind == key.kind,
        Life.provider_config_id == key.provider_config_id,
        Life.tenant_id == key.tenant_id,
        Life.user_id == key.user_id,
        Life.installation_id == key.installation_id,
        Life.label == key.label,
        col(Life.deleted_at).is_(None),
    )
    return (await tx.exec(query)).first()


async def lock_life(tx: AsyncSession, life_id: str) -> Life | None:
    """The row, locked until the transaction ends. SQLite's write transactions are alone anyway."""
    return (await tx.exec(_LOCKED, params={"id": life_id})).first()


_LOCKED = select(Life).where(Life.id == bindparam("id")).with_for_update().execution_options(populate_existing=True)


async def providers_of_living(db: Database) -> set[str]:
    """The providers of every life that has not ended, whether or not the catalog still knows them."""
    query = select(Life.provider_id).where(Life.status != Status.REVOKED).distinct()
    async with db.reading() as tx:
        return set((await tx.exec(query)).all())
