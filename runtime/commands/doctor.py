"""`authpipe doctor`: what is wrong with this server, and what to do about it."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from runtime.commands.options import DONE, NOT_SO, JsonOption
from runtime.commands.printing import document, say, table
from runtime.progress import working
from runtime.settings import load_settings

if TYPE_CHECKING:
    from runtime.doctor.examining import Outcome

# A paragraph is one line: typer keeps every other line break where it stands.
HELP = (
    "Look at everything this server needs, name what is wrong, and say what to do about it.\n\n"
    "It reads the settings that `authpipe api` and `authpipe worker` have, so run it where they run, and on each of "
    "their machines: files, keys, database, clock, Temporal, workers, and the addresses that browsers come back to. "
    "It changes nothing. What cannot be looked at, since something it needs is amiss, is reported as skipped.\n\n"
    "Ends with 0 if all is well, with 1 if something was found, with 2 if a setting keeps it from looking at all."
)
TITLES = ("check", "result", "what")


def doctor(as_json: JsonOption = False) -> None:
    """See `HELP`."""
    from runtime.doctor.checks import examine_server

    settings = load_settings()
    with working("Looking …"):
        outcomes = asyncio.run(examine_server(settings))
    if as_json:
        document(_report(outcomes))
    else:
        _show(outcomes)
    raise typer.Exit(NOT_SO if any(outcome.findings for outcome in outcomes) else DONE)


def _report(outcomes: Sequence["Outcome"]) -> dict[str, Any]:
    checks = [
        {
            "check": outcome.name,
            "result": outcome.state,
            "why": outcome.why,
            "findings": [asdict(finding) for finding in outcome.findings],
        }
        for outcome in outcomes
    ]
    return {"well": not any(outcome.findings for outcome in outcomes), "checks": checks}


def _show(outcomes: Sequence["Outcome"]) -> None:
    """Every check in a line, then each finding with what to do about it."""
    table(TITLES, [(outcome.name, outcome.state, _what(outcome)) for outcome in outcomes])
    for finding in (finding for outcome in outcomes for finding in outcome.findings):
        say()
        say(f"{finding.code}: {finding.what}")
        say(f"What to do: {finding.remedy}")


def _what(outcome: "Outcome") -> str:
    return outcome.why or ", ".join(sorted({finding.code for finding in outcome.findings}))
