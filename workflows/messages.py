# Append-only: these types travel through workflow histories; add fields with defaults, never rename, remove or change
# a default: what holds it is not written (`workflows.payloads`).
"""What starts a life's workflow, and what is asked of it. Ids, times and codes; never a secret (law 1)."""

from dataclasses import dataclass
from datetime import datetime

from activities.messages import ConfigIds, LifeIds
from domain.life import LifeState


@dataclass(frozen=True, slots=True)
class LifeStart:
    """Ids only; the state is loaded from the vault. `carried` is set by continue-as-new alone."""

    life: LifeIds
    carried: LifeState | None = None


@dataclass(frozen=True, slots=True)
class EnsureFresh:
    """A reader needs a newer generation than the one it saw."""

    generation_seen: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether a newer generation is there; if not, `pending` says that waiting may still help.

    `continuing`: the run was about to continue as new, ask the next one.
    """

    generation: int
    pending: bool = False
    continuing: bool = False


@dataclass(frozen=True, slots=True)
class SessionRef:
    """One attempt at consent."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """Whether an attempt has come to rest: ended, or waiting for a person. The session's row says how.

    `continuing`: the run was about to continue as new, ask the next one.
    """

    settled: bool
    continuing: bool = False


@dataclass(frozen=True, slots=True)
class LifeView:
    """The live state, as the query answers it."""

    status: str
    reason: str = ""
    health: str = "ok"
    generation: int = 0
    expires_at: datetime | None = None
    next_step: str = ""
    next_at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    held_until: datetime | None = None
    open_attempts: int = 0
    doubt: str = ""
    checkup_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BreakerStart:
    """Whose breaker. `since` and `turn` (the scouts sent so far) are carried by continue-as-new alone."""

    config: ConfigIds
    since: datetime | None = None
    turn: int = 0
