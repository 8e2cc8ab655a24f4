"""Asks the doctor: one check, with those it needs, of a server as a test set it up."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from runtime.doctor.checks import CHECKS
from runtime.doctor.examining import Check, Outcome, examine
from runtime.doctor.findings import CODES, Finding
from runtime.doctor.patient import Patient
from runtime.settings import Settings

KEY = f"key1:{'A' * 43}="
OTHER_KEY = f"key1:{'B' * 42}A="


def wall_clock() -> datetime:
    return datetime.now(UTC)


def needed(name: str) -> Iterator[Check]:
    check = next(check for check in CHECKS if check.name == name)
    for other in check.needs:
        yield from needed(other)
    yield check


async def outcome(settings: Settings, name: str, clock: Any = wall_clock) -> Outcome:
    """How one check comes out; a need of it that finds something is the outcome then."""
    patient = Patient(settings, clock)
    try:
        outcomes = await examine(patient, dict.fromkeys(needed(name)))
    finally:
        await patient.close()
    return next((other for other in outcomes if other.findings), outcomes[-1])


async def only(settings: Settings, name: str, clock: Any = wall_clock) -> Finding:
    """The one finding of a check; its words are one line each, and its code is in the table."""
    (finding,) = (await outcome(settings, name, clock)).findings
    assert finding.code in CODES
    assert finding.remedy
    assert "\n" not in finding.what + finding.remedy
    return finding
