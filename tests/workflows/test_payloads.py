"""What is written into histories leaves out what it need not say, and is understood in either form."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.converter import DataConverter

from activities.messages import Ending, LifeIds, RefreshOrder, RefreshResult
from domain.credential import CredentialRef
from domain.life import LifeState, Status
from workflows.messages import LifeStart
from workflows.payloads import BRIEF

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHOSE = LifeIds("default", "connection", "jira", "conn_1", "acme", "ann")
REFRESHED = RefreshResult(Ending.CREDENTIALED, CredentialRef(2, AT, AT, refreshable=True))
SAID = [
    REFRESHED,
    RefreshOrder(WHOSE, 0),
    RefreshResult(Ending.REFUSED, code="grant_revoked", siblings=[WHOSE], not_before=AT),
    LifeStart(WHOSE, LifeState(status=Status.ACTIVE, failures=3, returned=["ses_1"])),
    LifeStart(WHOSE),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
@pytest.mark.parametrize("writes", [BRIEF, DataConverter.default], ids=["brief", "as other versions write"])
@pytest.mark.parametrize("reads", [BRIEF, DataConverter.default], ids=["brief", "as other versions read"])
async def test_what_is_written_is_read_again(said: Any, writes: DataConverter, reads: DataConverter) -> None:
    assert await reads.decode(await writes.encode([said]), [type(said)]) == [said]


async def test_fields_that_hold_their_defaults_are_left_out() -> None:
    (payload,) = await BRIEF.encode([REFRESHED])
    noon = "2026-03-01T12:00:00Z"
    credential = {"generation": 2, "issued_at": noon, "expires_at": noon, "refreshable": True}
    assert json.loads(payload.data) == {"ending": "credentialed", "credential": credential}


async def test_a_field_without_a_default_is_always_written() -> None:
    (payload,) = await BRIEF.encode([RefreshOrder(WHOSE, 0)])
    assert json.loads(payload.data)["generation"] == 0


async def test_what_another_version_says_beside_is_passed_over() -> None:
    said = {"life": {"life_id": "conn_1", "new": 1}, "generation": 3, "x": [1]}
    (payload,) = await DataConverter.default.encode([said])
    assert await BRIEF.decode([payload], [RefreshOrder]) == [RefreshOrder(LifeIds(life_id="conn_1"), 3)]


async def test_what_does_not_fit_is_refused_as_the_sdk_refuses_it() -> None:
    for wrong in ({"life": {}, "generation": "three"}, {"generation": 3}, ["no", "mapping"]):
        (payload,) = await DataConverter.default.encode([wrong])
        for converter in (BRIEF, DataConverter.default):
            with pytest.raises((TypeError, RuntimeError)):
                await converter.decode([payload], [RefreshOrder])
