"""Every cell of `docs/crash-matrix.md`, on real processes and PostgreSQL."""

import pytest

from tests.crash.conftest import Figures
from tests.crash.matrix import Matrix
from tests.crash.table import Cell, expected

CELLS = sorted(expected(), key=lambda cell: list(type(cell.fault)).index(cell.fault))


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    return Matrix()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_life_comes_out_as_the_table_says(cell: Cell, matrix: Matrix, figures: Figures) -> None:
    figures.cells += 1
    outcome = await matrix.outcome(cell)
    if outcome.lost:
        figures.lost.append(cell)
    assert not outcome.lost
    assert outcome.ending == expected()[cell]
    figures.passed += 1
