"""What a test of attempts asks after each of them."""

from typing import Any

from domain.life import AttemptState
from vault import sessions


async def failed(stage: Any, session: Any) -> tuple[str, str]:
    """Reason and expectation of a failed attempt; nothing of it may be left."""
    row = await stage.session(session.id)
    assert row.state == AttemptState.FAILED
    assert (row.finished_at, row.sealed_code) == (stage.clock.now, None)
    assert [visit.sealed_verifier for visit in await stage.visits(session)] == [None]
    assert await stage.candidates(session) == []
    return row.reason, row.expected


async def choose(stage: Any, session: Any, name: str) -> None:
    (site_id,) = [site["id"] for site in (await stage.session(session.id)).sites if site["name"] == name]
    async with stage.deps.db.transaction() as tx:
        assert await sessions.choose(tx, session.id, site_id, stage.clock.now)
