"""Lets time pass on the server that skips it, however busy the machine is."""

import contextlib
from datetime import timedelta

from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

TRIES = 5


async def pass_time(engine: WorkflowEnvironment, span: timedelta) -> None:
    """Let the server's time go on by `span`, and all that is due in it happen.

    A call that is lost is made again for what is left: this server ends a busy connection after a while (GOAWAY; the
    client opens another one by itself), and on a busy machine its answer may come too late.
    """
    end = await engine.get_current_time() + span
    for _ in range(TRIES):
        with contextlib.suppress(RPCError):
            await engine.sleep(max(end - await engine.get_current_time(), timedelta(0)))
        if await engine.get_current_time() >= end:
            return
    raise TimeoutError(f"the server's time did not reach {end} in {TRIES} calls")
