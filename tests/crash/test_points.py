"""One cell of each crash point, in one round: the API is killed at its own point, then the worker at all others."""

import pytest

from tests.crash.cases import case_of
from tests.crash.matrix import WITHHELD
from tests.crash.rounds import bring_to_points, kill, play
from tests.crash.stack import HoldingStack
from tests.crash.table import POINTS, Cell, Fault, expected

pytestmark = pytest.mark.timeout(300)

OF_THE_API = Cell("callback.after_consuming", Fault.API, window=True)
OF_THE_WORKER = [Cell(point, Fault.WORKER, window=True) for point in POINTS if point != OF_THE_API.point]


async def test_a_life_comes_out_as_the_table_says_at_every_crash_point(short_leases: HoldingStack) -> None:
    callback = case_of(OF_THE_API, short_leases, withhold=0)
    await bring_to_points(short_leases, [callback])
    killed = kill(short_leases, "api")
    await killed.strike()
    callback.let_go()
    await killed.mend()

    # The new worker's first sweep then finds a callback that went unheard for long enough.
    found = await play(short_leases, OF_THE_WORKER, kill(short_leases, "worker"), withhold=WITHHELD[Fault.WORKER])
    await short_leases.until(callback.ended)

    endings = {str(cell): outcome.ending for cell, outcome in found.items()}
    endings[str(OF_THE_API)] = await callback.ending()
    await callback.close()
    assert endings == {str(cell): expected()[cell] for cell in (*OF_THE_WORKER, OF_THE_API)}
    assert not [cell for cell, outcome in found.items() if outcome.lost]
