"""The hot path: everything a read of a credential needs, in one indexed select on a bare connection."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, String, and_, bindparam, literal_column, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import col

from domain.life import Kind
from vault.credentials import ACCESS, CURRENT
from vault.crypto import Owner, Sealer
from vault.database import Database
from vault.tables import Credential, Life

MOST = 50
NARROWING = ("installation_id", "connection_id", "label", "provider_config_id")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose credential is asked for. Empty texts do not narrow the search."""

    workspace_id: str
    provider_id: str
    tenant_id: str
    kinds: tuple[Kind, ...]
    user_id: str = ""
    installation_id: str = ""
    provider_config_id: str = ""
    connection_id: str = ""
    label: str = ""


@dataclass(slots=True)  # not frozen: that takes several times as long to make
class Found:
    """One life that fits, with its sealed credential."""

    id: str
    workspace_id: str
    tenant_id: str
    provider_id: str
    provider_config_id: str
    kind: str
    label: str
    status: str
    reason: str
    last_error: str
    site_id: str
    site_name: str
    site_url: str
    requested_scopes: list[str] | None
    generation: int
    credential_type: str
    scopes: list[str] | None
    issued_at: datetime
    expires_at: datetime | None
    refused_at: datetime | None
    refreshable: bool
    sealed_access: bytes = field(repr=False)
    created_at: datetime


async def find(db: Database, wanted: Wanted) -> Sequence[Found]:
    """The living, once active lives that fit, what is preferred first; several are for the caller to tell apart."""
    asked = _asked(wanted)
    rows = await db.rows(_query(frozenset(asked)), asked)
    if len(rows) > MOST:
        rows = await db.rows(_preferred(frozenset(asked)), asked)
    return sorted((Found(*row) for row in rows), key=_rank)


async def find_one(db: Database, life_id: str) -> Found | None:
    """The same facts of one life, read again."""
    rows = await db.rows(_ONE, {"id": life_id})
    return Found(*rows[0]) if rows else None


async def open_access(sealer: Sealer, found: Found) -> str:
    """The access token. Raises `SealBroken` if the row was moved or altered."""
    owner = Owner(found.workspace_id, found.tenant_id, "life", found.id)
    return await sealer.open(owner, ACCESS, found.generation, found.sealed_access)


_COLUMNS = (
    col(Life.id),
    col(Life.workspace_id),
    col(Life.tenant_id),
    col(Life.provider_id),
    col(Life.provider_config_id),
    col(Life.kind),
    col(Life.label),
    col(Life.status),
    col(Life.reason),
    col(Life.last_error),
    col(Life.site_id),
    col(Life.site_name),
    col(Life.site_url),
    col(Life.requested_scopes),
    col(Credential.generation),
    col(Credential.credential_type),
    col(Credential.scopes),
    col(Credential.issued_at),
    col(Credential.expires_at),
    col(Credential.refused_at),
    col(Credential.sealed_refresh).is_not(None),
    col(Credential.sealed_access),
    col(Life.created_at),
)


def _joined() -> Select[*tuple[Any, ...]]:
    # Written out: a database may use the index of current ones only where it sees that they are asked for.
    role: ColumnElement[str] = literal_column(f"'{CURRENT}'")
    current = and_(col(Credential.life_id) == col(Life.id), col(Credential.role) == role)
    return select(*_COLUMNS).join(Credential, current)


_ONE = _joined().where(col(Life.id) == bindparam("id"), col(Life.deleted_at).is_(None))


def _asked(wanted: Wanted) -> dict[str, str]:
    """What the select is narrowed by, by the names in `_CONDITIONS`: always by whose it is."""
    whose = {"workspace_id": wanted.workspace_id, "tenant_id": wanted.tenant_id, "provider_id": wanted.provider_id}
    given = {name: text for name in NARROWING if (text := getattr(wanted, name))}
    # Either one kind, or all there are.
    if set(wanted.kinds) != set(Kind):
        (given["kind"],) = wanted.kinds
    # A connection that is named by its id needs no user beside it.
    if Kind.CONNECTION in wanted.kinds and (wanted.user_id or not wanted.connection_id):
        given["user_id"] = wanted.user_id
    return whose | given


@cache
def _query(asked: frozenset[str]) -> Select[*tuple[Any, ...]]:
    """The select of one kind of question, its values left open. Unsorted: sorting would cost as much as finding."""
    conditions = (_CONDITIONS[name] for name in sorted(asked))
    return _joined().where(col(Life.deleted_at).is_(None), *conditions).limit(MOST + 1)


@cache
def _preferred(asked: frozenset[str]) -> Select[*tuple[Any, ...]]:
    """The same where there are very many: what is preferred comes first, so that the limit cannot hide it."""
    return _query(asked).order_by(col(Life.kind).desc(), col(Life.status), col(Life.created_at)).limit(MOST)


def _rank(found: Found) -> tuple[bool, str, datetime]:
    """Installations, then what is active, then what is older; as `_preferred` orders."""
    return found.kind != Kind.INSTALLATION, found.status, found.created_at


class _Aside(ColumnElement[str]):
    """A column that SQLite chooses no index by, as it does of all that are named together the longest one.

    Kind and config are alike in most rows, and that index would compare them again and again on its way down (SQLite's
    manual, "The SQLite Query Optimizer Overview", on the unary `+`).
    """

    inherit_cache = True
    type = String()

    def __init__(self, column: str) -> None:
        self.column: Any = col(column)


@compiles(_Aside)
def _named(aside: _Aside, compiler: SQLCompiler, **asked: Any) -> str:
    return compiler.process(aside.column, **asked)


@compiles(_Aside, "sqlite")
def _named_aside(aside: _Aside, compiler: SQLCompiler, **asked: Any) -> str:
    return f"+{compiler.process(aside.column, **asked)}"


_INSTALLATION: BindParameter[str] = bindparam("installation_id")
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "workspace_id": col(Life.workspace_id) == bindparam("workspace_id"),
    "tenant_id": col(Life.tenant_id) == bindparam("tenant_id"),
    "provider_id": col(Life.provider_id) == bindparam("provider_id"),
    "kind": _Aside(Life.kind) == bindparam("kind"),
    "user_id": col(Life.user_id) == bindparam("user_id"),
    "installation_id": or_(
        and_(col(Life.kind) == Kind.INSTALLATION, col(Life.id) == _INSTALLATION),
        col(Life.installation_id) == _INSTALLATION,
    ),
    "connection_id": and_(col(Life.kind) == Kind.CONNECTION, col(Life.id) == bindparam("connection_id")),
    "label": col(Life.label) == bindparam("label"),
    "provider_config_id": _Aside(Life.provider_config_id) == bindparam("provider_config_id"),
}
