import dataclasses
import inspect
import sys
import typing
from pathlib import Path

import pytest

from activities.life import LifeActivities
from workflows.life import ConnectionLife

MESSAGES = ("authorization_returned", "settled", "choose_site", "ensure_fresh", "life_view", "run")
ACTIVITIES = ("load", "refresh", "advance_attempt", "close_attempt", "revoke")


def serialised() -> set[type]:
    """Every dataclass that a history may hold: what messages and activities take and return, and what is in those."""
    hints = [typing.get_type_hints(getattr(ConnectionLife, name)) for name in MESSAGES]
    hints += [typing.get_type_hints(getattr(LifeActivities, name)) for name in ACTIVITIES]
    found: set[type] = set()
    todo = [hint for each in hints for hint in each.values()]
    while todo:
        hint = todo.pop()
        todo += typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and hint not in found:
            found.add(hint)
            todo += typing.get_type_hints(hint).values()
    return found


def modules() -> list[str]:
    return sorted({each.__module__ for each in serialised()})


@pytest.mark.parametrize("module", modules())
def test_law_13_a_module_with_serialised_types_says_so_on_its_first_line(module):
    first = Path(inspect.getsourcefile(sys.modules[module])).read_text().splitlines()[0]
    assert first.startswith("# Append-only"), f"{module}: put the warning of law 13 on line 1"
