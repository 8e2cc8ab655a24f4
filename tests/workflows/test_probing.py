"""A life is told that its grant changed: it asks the provider, and believes only the token endpoint."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from activities.messages import Ending, ProbeReport, RefreshResult
from workflows.life import ConnectionLife

NewLife = Callable[..., Awaitable[Any]]


async def marked(life: Any) -> None:
    """What a sibling does: the row is marked, and the workflow told."""
    life.script.row = replace(life.script.row, probe_at=await life.now())
    await life.handle.signal(ConnectionLife.wake)


async def test_a_healthy_token_changes_nothing(new_life: NewLife) -> None:
    life = await new_life()
    await marked(life)
    assert (await life.called("probe")).order.generation == 1
    view = await life.until(lambda v: v.next_step == "refresh")
    assert (view.generation, view.status, len(life.script.named("refresh"))) == (1, "active", 0)


async def test_where_the_token_never_expires_one_check_up_follows_the_other(new_life: NewLife) -> None:
    def prepare(script: Any) -> None:
        script.row = replace(script.row, credential=replace(script.row.credential, expires_at=None))

    life = await new_life(prepare=prepare)
    began = await life.now()
    planned = [began + timedelta(hours=6 * n) for n in range(1, 4)]
    life.script.probes.extend(ProbeReport(Ending.DONE, next_at=at) for at in planned[1:])
    life.script.row = replace(life.script.row, probe_at=planned[0])
    await life.handle.signal(ConnectionLife.wake)
    await life.until(lambda v: v.next_at == planned[0])
    await life.sleep(hours=13)
    probes = [await life.called("probe", n) for n in (1, 2)]
    assert [call.at >= at for call, at in zip(probes, planned, strict=False)] == [True, True]
    view = await life.until(lambda v: v.next_at == planned[2])
    assert (view.next_step, view.expires_at, life.script.named("refresh")) == ("probe", None, [])


async def test_a_refused_token_is_refreshed_at_once(new_life: NewLife) -> None:
    life = await new_life(prepare=lambda s: s.probes.append(ProbeReport(Ending.TOKEN_REFUSED)))
    await marked(life)
    view = await life.until(lambda v: v.generation == 2)
    assert view.status == "active"


async def test_only_the_refresh_says_that_the_grant_is_dead(new_life: NewLife) -> None:
    def prepare(script: Any) -> None:
        script.probes.append(ProbeReport(Ending.TOKEN_REFUSED))
        script.refreshes.append(RefreshResult(Ending.REFUSED, code="grant_revoked"))

    life = await new_life(prepare=prepare)
    await marked(life)
    view = await life.until(lambda v: v.status == "needs_reauth")
    assert (view.reason, view.next_step) == ("grant_revoked", "wait")


async def test_a_provider_that_does_not_say_is_asked_again_later(new_life: NewLife) -> None:
    life = await new_life()
    again_at = await life.now() + timedelta(minutes=2)
    life.script.probes.append(ProbeReport(Ending.STUMBLED, "probe_unclear", again_at))
    await marked(life)
    view = await life.until(lambda v: v.next_at == again_at)
    assert view.next_step == "probe"
    await life.sleep(minutes=3)
    second = await life.called("probe", 2)
    assert (second.order.failures, second.at >= again_at) == (1, True)


async def test_a_life_whose_grant_changed_tells_its_siblings(new_life: NewLife) -> None:
    sibling = await new_life()
    await sibling.until(lambda v: v.status == "active")
    sibling.script.row = replace(sibling.script.row, probe_at=await sibling.now())
    dead = RefreshResult(Ending.REFUSED, code="grant_revoked", siblings=[sibling.ids])
    life = await new_life(prepare=lambda s: s.refreshes.append(dead))
    await life.fresh()
    await sibling.called("probe")


async def test_a_sibling_that_does_not_run_stops_nobody(new_life: NewLife) -> None:
    other = await new_life()
    gone = replace(other.ids, life_id="conn_nowhere")
    dead = RefreshResult(Ending.REFUSED, code="grant_revoked", siblings=[gone])
    life = await new_life(prepare=lambda s: s.refreshes.append(dead))
    await life.fresh()
    assert (await life.until(lambda v: v.status == "needs_reauth")).next_step == "wait"
