"""The table says something of every cell, once."""

from itertools import product

from tests.crash.table import POINTS, Cell, Fault, expected, impossible


def test_every_point_meets_every_fault_with_a_window_and_without_or_cannot() -> None:
    cells = {Cell(*each) for each in product(POINTS, Fault, (True, False))}
    assert len(POINTS) == 15
    assert expected().keys() | impossible().keys() == cells
    assert not expected().keys() & impossible().keys()


def test_every_cell_that_cannot_be_has_a_reason() -> None:
    assert all(impossible().values())
