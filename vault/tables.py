"""The vault's tables: columns only. Every change here needs a migration in `vault/migrations/`.

An absent user, installation or site is the empty string, never NULL: NULLs count as distinct in a unique index.
Columns named `sealed_*` hold ciphertext (`vault.crypto`); nothing else here is secret.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar, cast

import sqlalchemy
from sqlalchemy import Column, Index, LargeBinary, MetaData, inspect, text
from sqlmodel import Field, SQLModel

from vault.columns import Json, Sequence, UtcDateTime

naming = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


T = TypeVar("T", bound="Table")


class Table(SQLModel):
    """Base of every table: constraint names are fixed, so that migrations can refer to them."""

    metadata = MetaData(naming_convention=naming)


def plain(table: type[Table]) -> sqlalchemy.Table:
    """For statements that are built once and run often, without the ORM: building one costs as much as running it."""
    built: sqlalchemy.Table = inspect(table).local_table
    return built


def as_read(table: type[T], columns: Iterator[Any]) -> T:
    """A row out of its next columns, in the table's order. It is to be read alone: no session knows of it."""
    return cast("T", table.model_construct(**dict(zip((c.name for c in plain(table).c), columns, strict=False))))


def moment(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_type=UtcDateTime, nullable=nullable)


def json(default: Any = None) -> Any:
    return Field(default=default, sa_column=Column(Json, nullable=True))


def sealed() -> Any:
    return Field(default=None, sa_column=Column(LargeBinary, nullable=True))


class Workspace(Table, table=True):
    id: str = Field(primary_key=True)
    name: str
    created_at: datetime = moment(nullable=False)


class ApiKey(Table, table=True):
    """`key_hash` is SHA-256 of the key: it has 256 random bits, so no slow hash is needed."""

    __tablename__ = "api_key"
    id: str = Field(primary_key=True)
    workspace_id: str = Field(index=True)
    name: str
    role: str
    key_hash: str = Field(unique=True)
    created_at: datetime = moment(nullable=False)
    revoked_at: datetime | None = moment()


class DataKey(Table, table=True):
    """One per (workspace, tenant); an empty tenant is the workspace's own. Destroying `wrapped` is crypto-shredding."""

    __tablename__ = "data_key"
    id: str = Field(primary_key=True)
    workspace_id: str
    tenant_id: str
    kek_id: str
    wrapped: bytes | None = sealed()
    created_at: datetime = moment(nullable=False)
    destroyed_at: datetime | None = moment()
    __table_args__ = (
        Index(
            "uq_data_key_owner",
            "workspace_id",
            "tenant_id",
            unique=True,
            sqlite_where=text("destroyed_at IS NULL"),
            postgresql_where=text("destroyed_at IS NULL"),
        ),
    )


class ProviderConfig(Table, table=True):
    """A builder's OAuth app.

    `hold_kind` freezes it (`domain.holds`): nobody but one scout after `held_until` tries, and no connection is
    blamed. `stumbled` counts the lives that began to fail since the app's last success.
    """

    __tablename__ = "provider_config"
    id: str = Field(primary_key=True)
    workspace_id: str = Field(index=True)
    provider_id: str
    client_id: str
    secret_version: int
    attachment: str
    enabled: bool
    oauth_redirect_url: str
    display_name: str | None = None
    allowed_redirect_urls: list[str] | None = json()
    scopes: list[str] | None = json()
    bot_scopes: list[str] | None = json()
    verify_user: bool
    trust_publishable_sessions: bool
    sealed_signing_key: bytes | None = sealed()
    probe_interval_seconds: int | None = None
    """Between two check-ups of a life; None: the default."""
    held_until: datetime | None = moment()
    held_reason: str = ""
    hold_kind: str = ""
    hold_tries: int = 0
    stumbled: int = 0
    secret_noticed_days: int = 0
    revision: int = 1
    created_at: datetime = moment(nullable=False)
    updated_at: datetime = moment(nullable=False)
    deleted_at: datetime | None = moment()


class ClientSecret(Table, table=True):
    """One version of a config's client secret. A replaced one stays usable until `retires_at`.

    `expires_at`: when the provider ends it by itself, as far as the builder or the catalog says so.
    """

    __tablename__ = "client_secret"
    provider_config_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    sealed_secret: bytes | None = sealed()
    created_at: datetime = moment(nullable=False)
    retires_at: datetime | None = moment()
    expires_at: datetime | None = moment()


class AccountGrant(Table, table=True):
    """What the provider recorded: one consent of one account to one app. Never shown across tenants."""

    __tablename__ = "account_grant"
    id: str = Field(primary_key=True)
    workspace_id: str
    provider_config_id: str
    account_id: str
    scopes: list[str] | None = json()
    granted_at: datetime = moment(nullable=False)
    revision: int = 1
    __table_args__ = (Index("uq_account_grant_account", "provider_config_id", "account_id", unique=True),)


class Life(Table, table=True):
    """The projection of one installation or connection, and the row its workflow writes by compare-and-set.

    `probe_at`: from then on the provider is to be asked whether the credential still works. `doubt` is what the last
    answer left open. `noticed_days`: the last notice of the consent's end went out so many days before it, 0 for none.
    `site_scopes`: what the site's own list named when the consent was given.
    """

    id: str = Field(primary_key=True)
    workspace_id: str
    kind: str
    provider_id: str
    provider_config_id: str
    tenant_id: str
    user_id: str = ""
    installation_id: str = ""
    label: str = "default"
    attachment: str
    site_id: str = ""
    site_name: str = ""
    site_url: str = ""
    account_id: str = ""
    grant_id: str = ""
    status: str
    reason: str = ""
    health: str = "ok"
    last_error: str = ""
    failures: int = 0
    generation: int = 0
    next_generation: int = 1
    revision: int = 1
    requested_scopes: list[str] | None = json()
    granted_scopes: list[str] | None = json()
    issued_at: datetime | None = moment()
    expires_at: datetime | None = moment()
    created_at: datetime = moment(nullable=False)
    connected_at: datetime | None = moment()
    updated_at: datetime = moment(nullable=False)
    revoked_at: datetime | None = moment()
    deleted_at: datetime | None = moment()
    next_due_at: datetime | None = moment()
    held_until: datetime | None = moment()
    held_reason: str = ""
    probe_at: datetime | None = moment()
    probed_at: datetime | None = moment()
    doubt: str = ""
    consented_at: datetime | None = moment()
    noticed_days: int = 0
    site_scopes: list[str] | None = json()
    __table_args__ = (
        Index(
            "uq_life_owner",
            "workspace_id",
            "kind",
            "provider_config_id",
            "tenant_id",
            "user_id",
            "installation_id",
            "label",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "uq_life_site",
            "workspace_id",
            "provider_config_id",
            "tenant_id",
            "site_id",
            unique=True,
            sqlite_where=text("deleted_at IS NULL AND kind = 'installation' AND site_id <> ''"),
            postgresql_where=text("deleted_at IS NULL AND kind = 'installation' AND site_id <> ''"),
        ),
        Index("ix_life_reader", "workspace_id", "tenant_id", "provider_id", "user_id"),
        Index("ix_life_grant_id", "grant_id"),
        Index("ix_life_installation_id", "installation_id"),
        Index("ix_life_next_due_at", "next_due_at"),
        Index("ix_life_probe_at", "probe_at"),
    )


class Credential(Table, table=True):
    """A sealed secret: the `current` one of a life, or a `candidate` that has not passed its checks yet."""

    id: str = Field(primary_key=True)
    life_id: str
    session_id: str = ""
    role: str
    generation: int
    credential_type: str
    key_id: str
    sealed_access: bytes | None = sealed()
    sealed_refresh: bytes | None = sealed()
    scopes: list[str] | None = json()
    issued_at: datetime = moment(nullable=False)
    expires_at: datetime | None = moment()
    refused_at: datetime | None = moment()
    __table_args__ = (
        Index(
            "uq_credential_current",
            "life_id",
            unique=True,
            sqlite_where=text("role = 'current'"),
            postgresql_where=text("role = 'current'"),
        ),
        Index("uq_credential_generation", "life_id", "generation", unique=True),
    )


class TokenAttempt(Table, table=True):
    """The ledger: one row per attempt at the token endpoint, committed before the call. No outcome means in doubt."""

    __tablename__ = "token_attempt"
    id: str = Field(primary_key=True)
    life_id: str
    session_id: str = ""
    kind: str
    generation: int
    fingerprint: str
    started_at: datetime = moment(nullable=False)
    lease_until: datetime = moment(nullable=False)
    answered_at: datetime | None = moment()
    outcome: str | None = None
    error_code: str = ""
    __table_args__ = (
        Index("ix_token_attempt_open", "life_id", "fingerprint", "outcome"),
        Index(
            "ix_token_attempt_answered",
            "answered_at",
            sqlite_where=text("answered_at IS NOT NULL"),
            postgresql_where=text("answered_at IS NOT NULL"),
        ),
        Index(
            "uq_token_attempt_exchange",
            "session_id",
            unique=True,
            sqlite_where=text("kind = 'exchange'"),
            postgresql_where=text("kind = 'exchange'"),
        ),
    )


class AuthSession(Table, table=True):
    """One attempt at consent. The row is the truth; the workflow only remembers its id and deadline."""

    __tablename__ = "auth_session"
    id: str = Field(primary_key=True)
    workspace_id: str
    life_id: str = Field(index=True)
    kind: str
    provider_id: str
    provider_config_id: str
    tenant_id: str
    user_id: str = ""
    installation_id: str = ""
    state: str
    reason: str = ""
    expected: str = ""
    redirect_url: str
    oauth_redirect_url: str
    scopes: list[str] | None = json()
    opened_by: str
    opener_origin: str = ""
    session_token_id: str = ""
    needs_verification: bool = False
    verified_at: datetime | None = moment()
    visits: int = 0
    consumed_visit_id: str = ""
    consumed_at: datetime | None = moment()
    acknowledged_at: datetime | None = moment()
    sealed_code: bytes | None = sealed()
    sites: list[dict[str, Any]] | None = json()
    chosen_site_id: str = ""
    account_id: str = ""
    created_at: datetime = moment(nullable=False)
    expires_at: datetime = moment(nullable=False)
    deadline_at: datetime | None = moment()
    finished_at: datetime | None = moment()
    __table_args__ = (Index("ix_auth_session_unacknowledged", "acknowledged_at", "consumed_at"),)


class Visit(Table, table=True):
    """One browser's opening of a session's link: its own state, verifier and cookie, of which only hashes are kept."""

    id: str = Field(primary_key=True)
    session_id: str = Field(index=True)
    state_hash: str = Field(unique=True)
    cookie_hash: str
    sealed_verifier: bytes | None = sealed()
    created_at: datetime = moment(nullable=False)


class SessionToken(Table, table=True):
    """Minted by the builder's backend: fixes for whom a page may open one session."""

    __tablename__ = "session_token"
    id: str = Field(primary_key=True)
    workspace_id: str
    token_hash: str = Field(unique=True)
    kind: str
    provider_id: str
    provider_config_id: str = ""
    tenant_id: str
    user_id: str = ""
    installation_id: str = ""
    label: str = "default"
    scopes: list[str] | None = json()
    redirect_url: str = ""
    opener_origin: str = ""
    created_at: datetime = moment(nullable=False)
    expires_at: datetime = moment(nullable=False)
    used_at: datetime | None = moment()
    session_id: str = ""


class Event(Table, table=True):
    """What happened, in order of `sequence`; never a secret in `data`. One of a provider config has no life."""

    sequence: int | None = Field(default=None, sa_column=Column(Sequence, primary_key=True, autoincrement=True))
    id: str = Field(unique=True)
    workspace_id: str = Field(index=True)
    life_id: str = Field(index=True)
    provider_config_id: str = ""
    type: str
    data: dict[str, Any] | None = json()
    created_at: datetime = moment(nullable=False)


class Outbox(Table, table=True):
    """An event that waits to be delivered; written in the transaction that made the event, if there is an endpoint.

    `life_id` is whose events keep their order: a life, or a provider config.
    """

    event_id: str = Field(primary_key=True)
    workspace_id: str
    life_id: str = Field(index=True)
    created_at: datetime = moment(nullable=False)
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    attempts: int = 0
    first_attempt_at: datetime | None = moment()
    last_error: str = ""
    delivered_at: datetime | None = moment()
    dead_at: datetime | None = moment()
    __table_args__ = (
        Index(
            "ix_outbox_waiting",
            "workspace_id",
            "life_id",
            sqlite_where=text("delivered_at IS NULL AND dead_at IS NULL"),
            postgresql_where=text("delivered_at IS NULL AND dead_at IS NULL"),
        ),
    )


class WebhookEndpoint(Table, table=True):
    """Where a workspace's events go. Two secrets sign during a rotation, until `secret_2_retires_at`.

    `failures` in a row pause the whole endpoint until `paused_until`; `disabled_at`: it said that it is gone.
    """

    __tablename__ = "webhook_endpoint"
    workspace_id: str = Field(primary_key=True)
    url: str
    refreshed: bool
    """Whether `refreshed` events are wanted too."""
    secret_version: int
    sealed_secret_1: bytes | None = sealed()
    sealed_secret_2: bytes | None = sealed()
    secret_2_retires_at: datetime | None = moment()
    failures: int = 0
    paused_until: datetime | None = moment()
    last_error: str = ""
    disabled_at: datetime | None = moment()
    revision: int = 1
    created_at: datetime = moment(nullable=False)
    updated_at: datetime = moment(nullable=False)


class InboundMessage(Table, table=True):
    """A provider's webhook that was taken: the same one is not taken twice."""

    __tablename__ = "inbound_message"
    provider_config_id: str = Field(primary_key=True)
    message_id: str = Field(primary_key=True)
    received_at: datetime = Field(sa_type=UtcDateTime, nullable=False, index=True)


class Tombstone(Table, table=True):
    """A deletion that was asked for. Serving stopped with its commit; `upstream` says how revocation ended."""

    life_id: str = Field(primary_key=True)
    workspace_id: str
    requested_at: datetime = moment(nullable=False)
    first_try_at: datetime | None = moment()
    upstream: str = "pending"
    finished_at: datetime | None = moment()


class SchemaMark(Table, table=True):
    """What each migration said of older versions: the oldest revision whose version may serve once it is done."""

    __tablename__ = "schema_mark"
    revision: str = Field(primary_key=True)
    serves_from: str
