"""Connections that nobody consented to: written into the vault as a consent would leave them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from domain.credential import CredentialRef
from domain.life import Kind, Status
from domain.schedule import refresh_at
from providers.catalog import load_catalog
from providers.model import ScopeKind
from vault import credentials
from vault.crypto import Sealer
from vault.database import Database
from vault.ids import new_id
from vault.tables import Credential, Life

PROVIDER = "jira"
WORKSPACE = "default"
TENANTS = 50
AT_ONCE = 500
"""Rows in a transaction."""
NO_CHECKUP = timedelta(days=365)
ACCESS_TOKEN = "a" * 1000
"""As long as a signed token."""
SCOPES = [scope.id for scope in load_catalog(None)[PROVIDER].scopes.of(ScopeKind.USER)]


@dataclass(frozen=True, slots=True)
class Tokens:
    """When the credentials that are sown were issued, and when they end."""

    issued_at: datetime
    expires_at: datetime

    @classmethod
    def due(cls, at: datetime, spread: timedelta) -> "Tokens":
        """Tokens whose refreshes become due between `at` and `spread` later (`domain.schedule`)."""
        life = spread * 10
        return cls(at - life * 0.7, at + life * 0.3)


async def sow(
    db: Database, sealer: Sealer, config_id: str, count: int, tokens: Tokens, *, first: int = 0
) -> list[Life]:
    """So many connections, numbered from `first`, at the config of that id. The engine knows nothing of them yet."""
    sown: list[Life] = []
    for begin in range(first, first + count, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, first + count))
        lives = [_life(config_id, number, tokens) for number in numbers]
        secrets = [await _credential(sealer, life, tokens) for life in lives]
        async with db.transaction() as tx:
            await tx.exec(insert(Life), params=[life.model_dump() for life in lives])
            await tx.exec(insert(Credential), params=[secret.model_dump() for secret in secrets])
        sown += lives
    return sown


def _life(config_id: str, number: int, tokens: Tokens) -> Life:
    told: dict[str, Any] = dict.fromkeys(("issued_at", "connected_at", "consented_at"), tokens.issued_at)
    return Life(
        id=new_id("conn"),
        workspace_id=WORKSPACE,
        kind=Kind.CONNECTION,
        provider_id=PROVIDER,
        provider_config_id=config_id,
        tenant_id=f"tenant-{number % TENANTS}",
        user_id=f"user-{number}",
        attachment="user",
        site_id="site-1",
        site_name="Acme Engineering",
        site_url="https://acme.example.com",
        account_id=f"account-{number}",
        status=Status.ACTIVE,
        generation=1,
        next_generation=2,
        requested_scopes=SCOPES,
        granted_scopes=SCOPES,
        expires_at=tokens.expires_at,
        created_at=tokens.issued_at,
        updated_at=tokens.issued_at,
        next_due_at=refresh_at(_ref(tokens), 0),
        probe_at=tokens.expires_at + NO_CHECKUP,
        **told,
    )


async def _credential(sealer: Sealer, life: Life, tokens: Tokens) -> Credential:
    secrets = credentials.Secrets(ACCESS_TOKEN, f"rt_{life.id}_0_")
    row = credentials.new_candidate(life, "", _ref(tokens), await credentials.seal(sealer, life, 1, secrets))
    row.role = credentials.CURRENT
    return row


def _ref(tokens: Tokens) -> CredentialRef:
    return CredentialRef(1, tokens.issued_at, tokens.expires_at, refreshable=True, scopes=SCOPES)


def users(sown: Sequence[Life], config_id: str) -> list[dict[str, Any]]:
    """For each, the body that reads its credential."""
    return [
        {"provider": PROVIDER, "provider_config_id": config_id, "tenant_id": one.tenant_id, "user_id": one.user_id}
        for one in sown
    ]
