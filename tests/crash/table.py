"""The crash matrix as `docs/crash-matrix.md` has it: the one place where the expected endings stand."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from domain.points import Point

FILE = Path(__file__).parents[2] / "docs" / "crash-matrix.md"

REFRESH_SENDING = "refresh.after_sending"
EXCHANGE_SENDING = "exchange.after_sending"
SENDINGS = (REFRESH_SENDING, EXCHANGE_SENDING)
POINTS = (*(point.value for point in Point), *SENDINGS)


class Fault(StrEnum):
    """What befalls the stack, once, while every life of a round is at its point."""

    WORKER = "worker SIGKILL"
    ASKED = "worker SIGTERM"
    API = "API SIGKILL"
    TEMPORAL = "Temporal SIGKILL"
    DATABASE = "database stopped"
    CUT_BEFORE = "cut before"
    CUT_AFTER = "cut after"


class Ending(StrEnum):
    """How a life can come out; `docs/crash-matrix.md` says what each means."""

    GOES_ON = "goes on"
    SENT_AGAIN = "goes on, sent again inside the window"
    AFTER_EXPIRY = "goes on, sent again after expiry"
    ROTATION_LOST = "rotation_lost after expiry"
    CONNECTED = "connected"
    UNKNOWN = "exchange_unknown, try again"


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one point, at a provider with a replay window or without one."""

    point: str
    fault: Fault
    window: bool

    def __str__(self) -> str:
        return f"{self.point}-{self.fault}-{'window' if self.window else 'none'}"


def expected() -> dict[Cell, Ending]:
    """The cells that can be, with their endings."""
    found = {}
    for point, fault, *endings in _rows("## Endings"):
        for window, ending in zip((True, False), endings, strict=True):
            found[Cell(point, Fault(fault), window)] = Ending(ending)
    return found


def impossible() -> dict[Cell, str]:
    """The cells that cannot be, with the reason."""
    rows = list(_rows("## Cells that cannot be"))
    return {Cell(point, Fault(fault), window): why for point, fault, why in rows for window in (True, False)}


def _rows(heading: str) -> list[list[str]]:
    text = FILE.read_text(encoding="utf-8").partition(heading + "\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
