"""Says to the engine, with each call, which request it is for; where requests are traced, each call is a span."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from opentelemetry.trace import SpanKind, Tracer
from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)

from activities.causes import UNTRACED, cause_now, is_traced, span, with_cause

Told = StartWorkflowInput | SignalWorkflowInput | StartWorkflowUpdateInput


class CallCauses(Interceptor):
    """Given to the client."""

    def __init__(self, tracer: Tracer = UNTRACED) -> None:
        self._tracer = tracer

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        return _Calling(next, self._tracer)


class _Calling(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, tracer: Tracer) -> None:  # noqa: A002
        super().__init__(next)
        self._tracer = tracer

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        signalled = input.start_signal is not None
        what = f"SignalWithStartWorkflow:{input.start_signal}" if signalled else f"StartWorkflow:{input.workflow}"
        with self._told(what, input):
            return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        with self._told(f"SignalWorkflow:{input.signal}", input):
            await super().signal_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:  # noqa: A002
        with self._told(f"StartWorkflowUpdate:{input.update}", input):
            return await super().start_workflow_update(input)

    @contextmanager
    def _told(self, what: str, told: Told) -> Iterator[None]:
        """A call of the sweep belongs to nobody's trace, and would make one for each life."""
        traced = span(self._tracer, what, SpanKind.CLIENT, {"workflow_id": told.id}) if is_traced() else nullcontext()
        with traced:
            told.headers = with_cause(told.headers, cause_now())
            yield
