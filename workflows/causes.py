"""Hands on, in workflows, why something is done: from the message that was heard to the activities that follow it.

A life lives for months. What a timer begins has no cause but time, so a cause lasts for seconds. Nothing here makes,
orders or withholds a command: runs replay with it and without it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    SignalExternalWorkflowInput,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from activities.causes import Cause, Headers, cause_in, with_cause

LASTS = timedelta(seconds=10)
MARK = "authpipe_mark"

Mark = Callable[[str, Cause, int, str], Cause]
"""Puts down in a trace that a workflow heard a message: its name, why, when (ns), the workflow's id."""


def unmarked(_name: str, cause: Cause, _at: int, _workflow_id: str) -> Cause:
    """No traces."""
    return cause


class Causes(Interceptor):
    """Given to the worker of the workflows."""

    def __init__(self, mark: Mark = unmarked) -> None:
        self._mark = mark

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002
        input.unsafe_extern_functions[MARK] = self._mark
        return _Hearing


class _Hearing(WorkflowInboundInterceptor):
    """What a workflow hears."""

    _heard: Cause | None = None
    _until: datetime

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Ordering(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        self._hear(f"RunWorkflow:{workflow.info().workflow_type}", input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        self._hear(f"HandleSignal:{input.signal}", input.headers)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002
        self._hear(f"HandleUpdate:{input.update}", input.headers)
        return await super().handle_update_handler(input)

    def _hear(self, name: str, headers: Headers) -> None:
        cause = cause_in(headers)
        if not cause:
            return
        if not workflow.unsafe.is_replaying():
            mark: Mark = workflow.extern_functions()[MARK]
            cause = mark(name, cause, workflow.time_ns(), workflow.info().workflow_id)
        self._heard, self._until = cause, workflow.now() + LASTS

    def handed_on(self, headers: Headers) -> Headers:
        """These headers and why what they go with is done, if it is known still."""
        if self._heard is None or workflow.now() > self._until:
            return headers
        return with_cause(headers, self._heard)


class _Ordering(WorkflowOutboundInterceptor):
    """What a workflow asks for."""

    def __init__(self, next: WorkflowOutboundInterceptor, heard: _Hearing) -> None:  # noqa: A002
        super().__init__(next)
        self._heard = heard

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = self._heard.handed_on(input.headers)
        return super().start_activity(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:  # noqa: A002
        input.headers = self._heard.handed_on(input.headers)
        await super().signal_external_workflow(input)
