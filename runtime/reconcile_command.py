"""`authpipe reconcile`: the full pass in a process of its own, without any worker, and its report for a person."""

import asyncio
import json
import sys

from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.service import RPCError

from api.lives import Lives
from runtime.errors import StartError
from runtime.pace import Pace
from runtime.progress import Told, progress
from runtime.reconcile import reconcile
from runtime.reconcile_report import TITLES, Report
from runtime.settings import Settings
from runtime.temporal import compression, connect_config
from runtime.vault_setup import clock, open_database
from workflows.payloads import BRIEF

NOTHING_LEFT = 0
SOMETHING_LEFT = 1


def reconcile_now(settings: Settings, *, as_json: bool) -> int:
    """Run a pass and print its report; answers the exit code. Raises a refusal if it could not run to its end."""
    with progress() as told:
        report = asyncio.run(_reconcile(settings, told))
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    else:
        show(report, Console())
    return SOMETHING_LEFT if report.left else NOTHING_LEFT


async def _reconcile(settings: Settings, told: Told) -> Report:
    async with open_database(settings) as db:
        client = await _connect(settings)
        pace = Pace(settings.reconcile_starts_per_second)
        return await reconcile(db, Lives(client), client, clock, pace, told)


async def _connect(settings: Settings) -> Client:
    """Unlike a worker, somebody who waits at a terminal is told at once."""
    config = connect_config(settings)
    try:
        return await Client.connect(**config, data_converter=BRIEF, grpc_compression=compression(config))
    except (RuntimeError, RPCError):
        raise StartError(
            f"Temporal does not answer at {config.get('target_host')}; start it, or name another"
        ) from None


def show(report: Report, console: Console) -> None:
    """What was found, what was done, and what is left to do."""
    console.print(f"{report.living} living rows, {report.running} running workflows.")
    if not report.seen():
        console.print("Nothing was amiss.")
        return
    table = Table("found", "how many", "mended", "for you", "what to do", "for example")
    for case, finding in report.seen():
        numbers = (finding.found, finding.mended, finding.left)
        examples = ", ".join(finding.examples[:2]) if finding.left else ""
        table.add_row(TITLES[case], *map(str, numbers), report.advice(case), examples)
    console.print(table)
