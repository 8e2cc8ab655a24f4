"""`authpipe reconcile`: its answers, and its exit codes."""

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from api.lives import workflow_of
from runtime.cli import app
from runtime.ports import free_port
from runtime.progress import progress
from runtime.reconcile_report import ADVICE, Case
from tests.runtime.reconciling.place import Place, until


@pytest.fixture
def command(place: Place, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`await command("--json")`: runs it in a thread, since it has an event loop of its own."""
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("TEMPORAL_ADDRESS", place.client.service_client.config.target_host)

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, ["reconcile", *arguments])

    return run


async def test_the_command_works_without_a_worker_and_ends_with_0_when_nothing_is_left(
    place: Place, command: Any
) -> None:
    life = await place.row()
    ended = await command()
    assert ended.exit_code == 0, ended.output
    assert "1 living rows, 0 running workflows" in ended.stdout
    assert "mended" in ended.stdout
    assert await place.heard(life) == ["wake"]
    await until(lambda: place.lists(workflow_of(life)))
    assert "Nothing was amiss." in (await command()).stdout


async def test_the_command_ends_with_1_and_says_what_to_do_when_something_is_left(place: Place, command: Any) -> None:
    life = await place.row()
    await place.started(life)
    await place.change(life, generation=3)
    ended = await command("--json")
    assert ended.exit_code == 1
    said = json.loads(ended.stdout)
    assert (said["living"], said["running"], said["left"]) == (1, 1, 1)
    assert said["findings"]["credential_generation"] == {
        "found": 1,
        "mended": 0,
        "left": 1,
        "examples": [life.id],
        "advice": ADVICE[Case.CREDENTIAL_GENERATION],
    }


@pytest.mark.parametrize("away", ["TEMPORAL_ADDRESS", "AUTHPIPE_DATABASE_URL"])
def test_the_command_says_in_one_line_what_does_not_answer_and_ends_with_2(
    away: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", nowhere)
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", sqlite_url)
    if away == "AUTHPIPE_DATABASE_URL":
        monkeypatch.setenv(away, f"postgresql://nobody@{nowhere}/none")
    ended = CliRunner().invoke(app, ["reconcile"])
    assert (ended.exit_code, len(ended.stderr.splitlines())) == (2, 1)
    said = "Temporal does not answer" if away == "TEMPORAL_ADDRESS" else "the data"
    assert ended.stderr.startswith(f"authpipe: {said}")


class Terminal(io.StringIO):
    """A terminal that remembers what was drawn on it."""

    def isatty(self) -> bool:
        return True


def test_who_waits_at_a_terminal_sees_how_far_it_is_and_a_file_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    for stderr in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stderr)
        with progress() as say:
            say("starting what does not run", 3, 10)
        drawn.append(stderr.getvalue())
    assert "starting what does not run" in drawn[0]
    assert "3/10" in drawn[0]
    assert drawn[1] == ""
