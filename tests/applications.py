"""The API and the simulator for tests in process: their routes are built once, what stands behind them is each test's.

Building the routes takes longer than most tests. One test at a time has them; who needs two at once calls `create_app`.
"""

import time
from collections.abc import Callable
from functools import cache

from fastapi import FastAPI

import api.app
import simulator.app
from api.deps import ApiDeps
from simulator.settings import SimulatorSettings


def the_api(deps: ApiDeps) -> FastAPI:
    """The whole API over a test's own vault."""
    return api.app.furnish(_api(), deps)


def the_simulator(clock: Callable[[], float] = time.time) -> FastAPI:
    """The provider with a new world, by a test's own clock."""
    return simulator.app.furnish(_simulator(), SimulatorSettings(), clock)


@cache
def _api() -> FastAPI:
    return api.app.routes()


@cache
def _simulator() -> FastAPI:
    return simulator.app.routes()
