# Append-only: these types travel through workflow histories; add fields with defaults, never rename or remove.
"""What the workflow tells an activity, and what it hears back. Ids, times and codes; never a secret (law 1)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.credential import CredentialRef
from domain.life import AttemptState


@dataclass(frozen=True, slots=True)
class LifeIds:
    """Whose life: the row in the vault follows from `life_id`, the rest is for people and queues."""

    workspace_id: str
    kind: str
    provider_id: str
    life_id: str
    tenant_id: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class RefreshOrder:
    """Refresh the generation the workflow knows. `jitter` in [0, 1) places the refresh after this one."""

    life: LifeIds
    generation: int
    jitter: float = 0.0


class Ending(StrEnum):
    """How an activity ended; expected failures are values, so that the workflow always hears of them."""

    CREDENTIALED = "credentialed"
    REFUSED = "refused"
    HELD = "held"
    STUMBLED = "stumbled"
    WAITING = "waiting"
    RELOAD = "reload"
    MOVED = "moved"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """`not_before` bounds the next try; `code` says why there is no credential."""

    ending: Ending
    credential: CredentialRef | None = None
    code: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptOrder:
    """Drive one attempt at consent as far as it goes without a person."""

    life: LifeIds
    session_id: str
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Where the attempt stands, and the credential if it became the life's."""

    ending: Ending
    state: AttemptState
    deadline: datetime
    credential: CredentialRef | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class RevokeResult:
    """`upstream`: confirmed, unsupported, unconfirmed, kept_shared; or pending, to be tried again."""

    ending: Ending
    upstream: str = "pending"
