"""The figures of the crash matrix, printed when its run ends, and the stack of the tests beside it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.crash.matrix import SHORT
from tests.crash.stack import HoldingStack, holding_stack
from tests.crash.table import Cell


@dataclass
class Figures:
    """What a run of the matrix came to."""

    cells: int = 0
    passed: int = 0
    lost: list[Cell] = field(default_factory=list)


FIGURES = Figures()


@pytest.fixture
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
async def short_leases(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HoldingStack]:
    """A stack on the default database whose leases are over before a killed worker is missed."""
    async with holding_stack(tmp_path_factory.mktemp("short"), **SHORT) as stack:
        yield stack


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES.cells:
        terminalreporter.section("crash matrix")
        terminalreporter.line(
            f"cells {FIGURES.cells}, passed {FIGURES.passed}, "
            f"grants lost although the simulator says they live {len(FIGURES.lost)}"
        )
