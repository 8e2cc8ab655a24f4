"""How the doctor looks and reports: every check apart from the others, and the command's words and exit codes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from runtime.cli import app
from runtime.doctor.checks import CHECKS
from runtime.doctor.examining import Check, State, examine
from runtime.doctor.findings import CODES, Code, Finding, found
from runtime.doctor.patient import Patient, aside
from runtime.ports import free_port
from runtime.settings import Settings
from tests.docs.reading import rows, section, text_of
from tests.runtime.doctoring import KEY, wall_clock


async def well(_patient: Patient) -> AsyncIterator[Finding]:
    for nothing in ():
        yield nothing


async def ill(_patient: Patient) -> AsyncIterator[Finding]:
    yield found(Code.DATABASE_UNREACHABLE, "it is away")


async def hanging(_patient: Patient) -> AsyncIterator[Finding]:
    yield found(Code.CLOCK_SKEWED, "found before it hung")
    await asyncio.Event().wait()


async def stubborn(_patient: Patient) -> AsyncIterator[Finding]:
    """Does not even let itself be cancelled, for a while."""
    for nothing in ():
        yield nothing
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.sleep(0.2)


async def broken(_patient: Patient) -> AsyncIterator[Finding]:
    yield found(Code.CLOCK_SKEWED, "found before it broke")
    raise RuntimeError("canary")


@pytest.fixture
def patient(settings_with: Callable[..., Settings]) -> Patient:
    return Patient(settings_with(), wall_clock)


async def test_one_check_that_hangs_or_breaks_keeps_no_other_from_being_reported(patient: Patient) -> None:
    checks = (
        Check("hanging", hanging, seconds=0.1),
        Check("stubborn", stubborn, seconds=0.1),
        Check("broken", broken),
        Check("ill", ill),
        Check("well", well),
    )
    outcomes = {outcome.name: outcome for outcome in await examine(patient, checks)}
    codes = {name: [finding.code for finding in outcome.findings] for name, outcome in outcomes.items()}
    assert codes == {
        "hanging": [Code.CLOCK_SKEWED, Code.NO_ANSWER],
        "stubborn": [Code.NO_ANSWER],
        "broken": [Code.CLOCK_SKEWED, Code.CHECK_FAILED],
        "ill": [Code.DATABASE_UNREACHABLE],
        "well": [],
    }
    assert outcomes["broken"].findings[1].what == "broken: RuntimeError"


async def test_what_needs_something_that_is_amiss_is_skipped_and_says_why(patient: Patient) -> None:
    checks = (
        Check("ill", ill),
        Check("second", broken, ("ill",)),
        Check("third", broken, ("second",)),
        Check("well", well),
        Check("beside", well, ("well",)),
    )
    outcomes = await examine(patient, checks)
    assert [outcome.state for outcome in outcomes] == [
        State.FOUND,
        State.SKIPPED,
        State.SKIPPED,
        State.OK,
        State.OK,
    ]
    assert outcomes[1].why == "it needs ill, which is not as it should be"
    assert outcomes[2].why == "it needs second, which is not as it should be"


def test_every_need_is_listed_before_who_needs_it() -> None:
    known: list[str] = []
    for check in CHECKS:
        assert set(check.needs) <= set(known)
        known.append(check.name)
    assert len(known) == len(set(known))


async def test_what_is_done_aside_hands_on_result_and_failure() -> None:
    def fails() -> None:
        raise ValueError("why")

    assert await aside(lambda: 7) == 7
    with pytest.raises(ValueError, match="why"):
        await aside(fails)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Any) -> Callable[..., Result]:
    """`doctor(*options, NAME=value)`: the command over a vault in order, and an engine that is away."""
    given = {
        "AUTHPIPE_DATA_DIR": str(tmp_path),
        "AUTHPIPE_DATABASE_URL": sqlite_url,
        "AUTHPIPE_KEY_ENCRYPTION_KEY": KEY,
        "AUTHPIPE_TEMPORAL_PORT": str(free_port()),
    }

    def run(*options: str, **environment: str) -> Result:
        for name, value in (given | environment).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, ["doctor", *options])

    return run


def test_findings_end_with_1_and_say_what_to_do(doctor: Callable[..., Result]) -> None:
    ended = doctor()
    assert ended.exit_code == 1, ended.output
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["check", "result", "what"]
    assert any(line.split() == ["temporal", "found", "temporal_unreachable"] for line in lines)
    assert any(line.startswith("workers ") and "it needs temporal" in line for line in lines)
    assert any(line.split() == ["database", "ok", "-"] for line in lines)
    assert any(line.startswith("temporal_unreachable: Temporal at 127.0.0.1:") for line in lines)
    assert f"What to do: {CODES[Code.TEMPORAL_UNREACHABLE].remedy}" in lines


def test_programs_get_one_document(doctor: Callable[..., Result]) -> None:
    ended = doctor("--json")
    told = json.loads(ended.stdout)
    assert (ended.exit_code, ended.stderr, told["well"]) == (1, "", False)
    assert [check["check"] for check in told["checks"]] == [check.name for check in CHECKS]
    by_name = {check["check"]: check for check in told["checks"]}
    assert [finding["code"] for finding in by_name["temporal"]["findings"]] == ["temporal_unreachable"]
    assert by_name["workers"] == {
        "check": "workers",
        "result": "skipped",
        "why": "it needs temporal, which is not as it should be",
        "findings": [],
    }


def test_with_nothing_found_it_ends_with_0(doctor: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.doctor.checks.CHECKS", [Check("well", well)])
    ended = doctor("--json")
    assert (ended.exit_code, json.loads(ended.stdout)["well"]) == (0, True)


def test_a_setting_that_cannot_be_read_ends_with_2(doctor: Callable[..., Result]) -> None:
    ended = doctor(AUTHPIPE_API_PORT="canary")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert (
        ended.stderr == "authpipe: AUTHPIPE_API_PORT: must be a valid integer, unable to parse string as an integer\n"
    )


def test_everything_wrong_at_once_is_all_told(doctor: Callable[..., Result], tmp_path: Any) -> None:
    (tmp_path / "one.toml").write_text("id = ")
    ended = doctor(
        "--json",
        AUTHPIPE_PROVIDERS_DIR=str(tmp_path),
        AUTHPIPE_DATABASE_URL=f"sqlite:///{tmp_path}/none.db",
        AUTHPIPE_KEY_ENCRYPTION_KEY="",
    )
    found = {finding["code"] for check in json.loads(ended.stdout)["checks"] for finding in check["findings"]}
    assert found == {"provider_file_faulty", "key_missing", "database_unreachable", "temporal_unreachable"}


def test_every_finding_is_documented_with_meaning_and_first_step() -> None:
    told = [tuple(cells) for cells in rows(section(text_of("docs/commands.md"), "What the doctor finds"))]
    assert told == [(f"`{code}`", entry.meaning, entry.remedy) for code, entry in CODES.items()]
    assert set(CODES) == set(Code)
