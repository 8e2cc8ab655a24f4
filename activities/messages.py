# Append-only: these types travel through workflow histories; add fields with defaults, never rename, remove or change
# a default: what holds it is not written (`workflows.payloads`).
"""What the workflow tells an activity, and what it hears back. Ids, times and codes; never a secret (law 1)."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.credential import CredentialRef
from domain.life import AttemptState


@dataclass(frozen=True, slots=True)
class LifeIds:
    """Whose life: the row in the vault follows from `life_id`, the rest is for people and queues."""

    workspace_id: str = ""
    kind: str = ""
    provider_id: str = ""
    life_id: str = ""
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
    probe_at: datetime | None = None
    """When to check the life up because its scopes shrank."""


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
    probe_at: datetime | None = None
    """The first check-up after a consent."""


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """Ask the provider whether the access token of that generation works. `failures` is how often it did not say."""

    life: LifeIds
    generation: int
    failures: int = 0
    jitter: float = 0.0
    waited: bool = False
    """Whether it waited its turn behind other calls already."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Done, or the token is refused (refresh it), or the life is (it cannot be refreshed), or stumbled until then.

    `next_at` is the next check-up, `doubt` what this one left open.
    """

    ending: Ending
    code: str = ""
    not_before: datetime | None = None
    next_at: datetime | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class RevokeResult:
    """`upstream`: confirmed, unsupported, unconfirmed, kept_shared; or pending, to be tried again."""

    ending: Ending
    upstream: str = "pending"


@dataclass(frozen=True, slots=True)
class ConfigIds:
    """Whose breaker: the row in the vault follows from `config_id`, the rest is for people and ids."""

    workspace_id: str
    provider_id: str
    config_id: str


@dataclass(frozen=True, slots=True)
class DeliveryOrder:
    """Deliver what is due of a workspace's events."""

    workspace_id: str


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """How it went. `more`: some of it is due at once; `next_at`: when the next event is, None if none waits.

    `endpoint`: ready, none, paused (until `next_at`), or gone.
    """

    endpoint: str
    delivered: int = 0
    failed: int = 0
    more: bool = False
    next_at: datetime | None = None
    last_error: str = ""
