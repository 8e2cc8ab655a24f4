"""Lets time pass on the server that skips it, however busy the machine is."""

import contextlib
from datetime import timedelta

from temporalio.client import Client
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


async def another_connection(engine: WorkflowEnvironment) -> Client:
    """To the same server, for workers that run for long: after some weeks of many lives, what is asked over their
    connection comes to this server half a minute late, and with it the word that time may pass.
    """
    return await Client.connect(engine.client.service_client.config.target_host, namespace=engine.client.namespace)
