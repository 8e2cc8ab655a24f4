"""What a reader gets of a life, by the reading path alone."""

from typing import Any

from domain.serving import Served, after_waiting, serve
from tests.activities.conftest import as_read
from vault import reading


async def served(stage: Any, life: Any) -> tuple[Served, str]:
    """The verdict on the life's credential now, and the access token that would be handed out."""
    found = await reading.find_one(stage.deps.db, life.id)
    assert found is not None
    at_once, waited = serve(as_read(found), stage.clock.now), after_waiting(as_read(found), stage.clock.now)
    assert at_once.verdict is waited.verdict
    return at_once, await reading.open_access(stage.deps.sealer, found)
