# Append-only: these types travel through workflow histories; add fields with defaults, never rename or remove.
"""What the workflow tells an activity, and what it hears back. Ids, times and codes; never a secret (law 1)."""

from dataclasses import dataclass, field
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
    TOKEN_REFUSED = "token_refused"


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """`not_before` bounds the next try; `code` says why there is no credential.

    `siblings` are other lives of the grant that changed: they are to look whether theirs still works.
    """

    ending: Ending
    credential: CredentialRef | None = None
    code: str = ""
    not_before: datetime | None = None
    siblings: list[LifeIds] = field(default_factory=list)


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
    siblings: list[LifeIds] = field(default_factory=list)
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """Ask the provider whether the access token of that generation works. `failures` is how often it did not say."""

    life: LifeIds
    generation: int
    failures: int = 0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Done, or the token is refused (refresh it), or the life is (it cannot be refreshed), or stumbled until then."""

    ending: Ending
    code: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class RevokeResult:
    """`upstream`: confirmed, unsupported, unconfirmed, kept_shared; or pending, to be tried again."""

    ending: Ending
    upstream: str = "pending"
