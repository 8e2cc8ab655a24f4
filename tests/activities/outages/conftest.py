"""An engine that only notes what it is told."""

from dataclasses import replace
from typing import Any

import pytest

from tests.activities.outages.steps import (
    Told,
)


@pytest.fixture
def told(stage: Any) -> Told:
    told = Told()
    stage.deps = replace(stage.deps, trip=told.trip, wake=told.wake)
    return told
