"""Runs checks beside one another, each within its time; none keeps the others from being reported."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runtime.doctor.findings import Code, Finding, found
from runtime.doctor.patient import Patient

SECONDS = 10.0

Look = Callable[[Patient], AsyncIterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `needs` names checks, listed before it, that must have found nothing."""

    name: str
    look: Look
    needs: tuple[str, ...] = ()
    seconds: float = SECONDS


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    FOUND = "found"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Outcome:
    """What one check found; `why` says what kept a skipped one from looking."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    why: str = ""

    @property
    def state(self) -> State:
        if self.why:
            return State.SKIPPED
        return State.FOUND if self.findings else State.OK


async def examine(patient: Patient, checks: Iterable[Check]) -> list[Outcome]:
    """The outcome of each check, in their order."""
    running: dict[str, asyncio.Task[Outcome]] = {}
    for check in checks:
        running[check.name] = asyncio.create_task(_run(check, patient, [running[name] for name in check.needs]))
    return list(await asyncio.gather(*running.values()))


async def _run(check: Check, patient: Patient, needed: Sequence[asyncio.Task[Outcome]]) -> Outcome:
    outcome = Outcome(check.name)
    for before in [await task for task in needed]:
        if before.state is not State.OK:
            outcome.why = f"it needs {before.name}, which is not as it should be"
            return outcome
    looking = asyncio.create_task(_look(check, patient, outcome.findings))
    # Left to itself when its time is over: one that cannot even be cancelled must not hold up the report.
    done, _ = await asyncio.wait({looking}, timeout=check.seconds)
    if not done:
        looking.cancel()
        what = f"{check.name}: no answer within {check.seconds:g} s"
        outcome.findings = [*outcome.findings, found(Code.NO_ANSWER, what)]
    return outcome


async def _look(check: Check, patient: Patient, findings: list[Finding]) -> None:
    try:
        async for finding in check.look(patient):
            findings.append(finding)  # noqa: PERF401 - one by one: what was found before it hung or broke is kept
    except Exception as error:  # noqa: BLE001 - one broken check is a finding, and the others go on
        # Only its kind: what a driver says may quote what it was given.
        findings.append(found(Code.CHECK_FAILED, f"{check.name}: {type(error).__name__}"))
