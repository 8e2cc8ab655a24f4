# Append-only: LifeState and what it holds travel through workflow histories; add fields with defaults only.
"""The life of an installation or a connection: its state, and the facts that move it.

Transitions are `domain.transitions.apply(state, fact, now)`; what is due next says `domain.wakeup.next_wakeup`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.credential import CredentialRef


class Kind(StrEnum):
    """What a life is the life of."""

    INSTALLATION = "installation"
    CONNECTION = "connection"


class Status(StrEnum):
    """Where a life stands. `pending` is a life that was never active: only its sessions show it."""

    PENDING = "pending"
    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


class AttemptState(StrEnum):
    """Where an attempt at consent stands."""

    PENDING = "pending"
    EXCHANGING = "exchanging"
    AWAITING_SELECTION = "awaiting_selection"
    PENDING_VERIFICATION = "pending_verification"
    COMPLETED = "completed"
    FAILED = "failed"


ENDED = (AttemptState.COMPLETED, AttemptState.FAILED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An open attempt, as the workflow remembers it: the row in the vault is the truth."""

    session_id: str
    state: AttemptState
    deadline: datetime
    retry_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class LifeState:
    """All a workflow knows of its life. Small on purpose: it is carried through every continue-as-new."""

    status: Status = Status.PENDING
    reason: str = ""
    credential: CredentialRef | None = None
    refresh_at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    retry_at: datetime | None = None
    held_until: datetime | None = None
    held_reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    refresh_wanted: bool = False
    reload: bool = True
    deleting: bool = False
    revoke_at: datetime | None = None
    revoke_failures: int = 0
    probe_at: datetime | None = None
    probe_failures: int = 0
    probe_waited: bool = False
    doubt: str = ""
    knows_holds: bool = False
    """Whether the row was read by a worker that lets held lives wait for a wake: runs of before keep their course."""
    withheld: bool = False
    """Whether the provider's API refused the access token, which is not served until it is accepted or replaced."""

    @property
    def generation(self) -> int:
        return self.credential.generation if self.credential else 0

    @property
    def health(self) -> str:
        return "degraded" if self.status is Status.ACTIVE and (self.failures or self.doubt) else "ok"


# --- facts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """The vault's row, read again."""

    status: Status
    reason: str = ""
    credential: CredentialRef | None = None
    attempts: list[Attempt] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    held_until: datetime | None = None
    held_reason: str = ""
    deleting: bool = False
    jitter: float = 0.0
    probe_at: datetime | None = None
    in_doubt_until: datetime | None = None
    """The end of the lease of a refresh whose answer nobody knows: from then on it is to be finished."""
    doubt: str = ""
    knows_holds: bool = False
    moves_waiting: bool = False
    """Whether a worker read it that takes what waits along with a longer hold: what was recorded before is kept."""
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Credentialed:
    """A credential was committed: by a refresh, a consent, or somebody else before us.

    `probe_at` is the check-up that a consent, or a change of scopes, brought with it.
    """

    credential: CredentialRef
    jitter: float = 0.0
    probe_at: datetime | None = None
    consented: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The user's failure: the grant is dead."""

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """The operator's failure: nothing is tried before `until`, and the connection is not blamed."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Stumbled:
    """The moment's failure. `not_before` is the provider's Retry-After or the end of somebody's lease."""

    error: str
    not_before: datetime | None = None
    counted: bool = True
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptMoved:
    """An attempt reached another state; `deadline` is when it ends by itself."""

    session_id: str
    state: AttemptState
    deadline: datetime


@dataclass(frozen=True, slots=True)
class AttemptStumbled:
    """A moment's failure of an attempt; the life itself is not touched."""

    session_id: str
    jitter: float = 0.0
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """The provider was asked about the access token. A refused one is refreshed: only that tells of the grant.

    `next_at` is the next check-up, `doubt` what this one left open. `withheld`: the API refused the token itself.
    """

    generation: int
    refused: bool = False
    next_at: datetime | None = None
    doubt: str = ""
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class ProbeStumbled:
    """The provider did not say; it is asked again at `again_at`.

    Not counted: it was not asked. `waited`: because others went first, so the next time is this one's turn.
    """

    again_at: datetime
    counted: bool = True
    waited: bool = False


@dataclass(frozen=True, slots=True)
class Outdated:
    """The row is at odds with what is known here: read it again, and refresh no earlier than `retry_at`."""

    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """Nobody committed a tombstone: the signal was sent by hand."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Deleted by our side, its secret destroyed. The end."""


@dataclass(frozen=True, slots=True)
class RevocationStumbled:
    """The provider could not be told yet; it is tried again."""

    jitter: float = 0.0


Fact = (
    Loaded
    | Credentialed
    | Refused
    | Held
    | Stumbled
    | AttemptMoved
    | AttemptStumbled
    | Probed
    | ProbeStumbled
    | Outdated
    | NotDeleted
    | Revoked
    | RevocationStumbled
)
