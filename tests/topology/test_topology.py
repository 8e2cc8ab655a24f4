"""A short run of `make topology`: a dozen connections, and windows of seconds."""

import pytest

from tests.topology.run import Size, topology

SHORT = Size(
    connections=12, window=4, reads=1, every=8, readers=8, per_second=20, first=(40, 50), hot=(6, 8), calm=(60, 80)
)


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_any_process_dies_or_is_taken_away_and_nobody_is_without_a_credential() -> None:
    assert await topology(SHORT, drawn_by=7) == 0
