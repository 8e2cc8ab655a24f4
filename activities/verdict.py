"""How a step of an attempt can end without going on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt is over. `expected` names what would have been right, for the person in front of the page."""

    reason: str
    expected: str = ""
    hold: bool = False
    account_id: str = ""
    """Whose consent it was, where that is known."""


@dataclass(frozen=True, slots=True)
class Later:
    """A moment's failure: the same step is tried again."""

    code: str
    retry_after: float | None = None
    """Seconds the provider asked for."""
