"""The groups of the command, in this process, on SQLite: the API's routes answer, its Temporal side is played."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from rich.console import Console
from typer.testing import CliRunner, Result

from api.app import create_app
from domain.life import Kind, Status
from runtime.cli import app
from runtime.commands import asking
from runtime.commands.printing import clean, on_terminal
from runtime.ports import free_port
from tests.api.conftest import FakeLives
from vault.database import Database
from vault.tables import Credential, Event, Life, Outbox, ProviderConfig, Workspace

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)
ESCAPE = "\x1b]0;owned\x07\u202eevil"


@pytest.fixture
def vault(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`vault(row, …)`: keeps rows in the database that the commands will open."""
    monkeypatch.setenv("AUTHPIPE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("AUTHPIPE_KEY_ENCRYPTION_KEY", f"key1:{'A' * 43}=")

    async def keep(*rows: Any) -> None:
        db = Database.open(sqlite_url)
        async with db.transaction() as tx:
            tx.add_all(rows)
        await db.close()

    return lambda *rows: asyncio.run(keep(*rows))


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> FakeLives:
    """The workflows, played."""
    played = FakeLives()
    monkeypatch.setattr("runtime.compose.Lives", lambda _client: played)
    return played


def life(life_id: str, **fields: Any) -> Life:
    columns: dict[str, Any] = {
        "id": life_id,
        "workspace_id": "default",
        "kind": Kind.CONNECTION,
        "provider_id": "jira",
        "provider_config_id": "cfg_1",
        "tenant_id": "acme",
        "user_id": f"user-of-{life_id}",
        "label": "default",
        "attachment": "user",
        "account_id": "account",
        "status": Status.ACTIVE,
        "generation": 1,
        "next_generation": 2,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "created_at": NOW,
        "connected_at": NOW,
        "updated_at": NOW,
    }
    return Life(**(columns | fields))


def credential(life_id: str) -> Credential:
    return Credential(
        id=f"cred_{life_id}",
        life_id=life_id,
        role="current",
        generation=1,
        credential_type="oauth_token",
        key_id="dek_1",
        sealed_access=b"canary-sealed",
        sealed_refresh=b"canary-sealed",
        issued_at=NOW - timedelta(minutes=30),
        expires_at=NOW + timedelta(hours=1),
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def ids(listed: Result) -> list[str]:
    assert listed.exit_code == 0, listed.stderr
    return [line.split()[0] for line in listed.stdout.splitlines()[1:]]


def dead(life_id: str = "conn_dead", **fields: Any) -> Life:
    return life(life_id, status=Status.NEEDS_REAUTH, reason="grant_revoked", revoked_at=NOW, **fields)


def test_what_hurts_comes_first(vault: Any, lives: Any) -> None:
    soon = life("conn_soon", expires_at=NOW + timedelta(minutes=1))
    vault(life("conn_fine"), soon, life("conn_ill", health="degraded", last_error="http_503"), dead())
    assert ids(run("connections", "list")) == ["conn_dead", "conn_ill", "conn_soon", "conn_fine"]


def test_a_list_of_the_dead_says_which_why_since_when_and_what_to_do(vault: Any, lives: Any) -> None:
    vault(dead(), life("conn_fine"))
    listed = run("connections", "list", "--status", "needs_reauth")
    assert ids(listed) == ["conn_dead"]
    line = listed.stdout.splitlines()[1]
    for word in ("acme", "user-of-conn_dead", "grant_revoked", f"{NOW:%Y-%m-%d %H:%M:%S}Z", "Open a new session"):
        assert word in line


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--tenant", "other"], ["conn_other"]),
        (["--user", "user-of-conn_late"], ["conn_late"]),
        (["--provider", "asana"], ["conn_asana"]),
        (["--overdue"], ["conn_late"]),
        (["--tenant", "nobody"], []),
    ],
)
def test_filters_leave_the_others_out(vault: Any, lives: Any, options: list[str], found: list[str]) -> None:
    late = life("conn_late", next_due_at=datetime.now(UTC) - timedelta(minutes=6))
    vault(
        late,
        life("conn_due", next_due_at=datetime.now(UTC) - timedelta(minutes=4)),
        life("conn_other", tenant_id="other"),
        life("conn_asana", provider_id="asana"),
    )
    listed = run("connections", "list", *options, "--json")
    assert [row["id"] for row in json.loads(listed.stdout)["data"]] == found


def test_pages_follow_one_another_and_all_is_all_of_them(vault: Any, lives: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("runtime.commands.options.MAX_LIMIT", 2)
    vault(*(life(f"conn_{n}") for n in range(5)))
    first = json.loads(run("connections", "list", "--limit", "3", "--json").stdout)
    rest = json.loads(run("connections", "list", "--cursor", first["next_cursor"], "--json").stdout)
    joined = [row["id"] for row in first["data"] + rest["data"]]
    assert joined == [f"conn_{n}" for n in range(5)]
    everything = json.loads(run("connections", "list", "--all", "--json").stdout)
    assert [row["id"] for row in everything["data"]] == joined
    assert everything["has_more"] is False


def test_no_id_is_cut_where_there_is_no_terminal(vault: Any, lives: Any) -> None:
    long = "t" * 120
    vault(life("conn_" + "x" * 59, tenant_id=long))
    assert long in run("connections", "list").stdout


@pytest.mark.parametrize("command", [("connections", "list"), ("connections", "show", "conn_1")])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_no_escape_of_a_tenant_or_a_provider_reaches_the_terminal(
    vault: Any, lives: Any, command: tuple[str, ...], as_json: tuple[str, ...]
) -> None:
    vault(life("conn_1", tenant_id=ESCAPE, user_id=ESCAPE, site_id="s", site_name=ESCAPE, last_error=ESCAPE))
    ended = run(*command, *as_json)
    assert ended.exit_code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(ended.output)
    assert "evil" in ended.output


def test_what_cannot_be_seen_is_spelt_out() -> None:
    assert clean("a\x1b[2J\nb\u202e\u2028é[red]\ud800") == "a\\x1b[2J\\nb\\u202e\\u2028é[red]\\ud800"


@pytest.mark.parametrize("width", [30, 80, 120, 300])
def test_no_terminal_is_too_narrow_for_a_whole_id(width: int) -> None:
    shown = StringIO()
    console = Console(file=shown, width=width, force_terminal=True, no_color=True, highlight=False)
    row = ("conn_" + "x" * 24, "needs_reauth", "[red]grant[/red]", "Open a new session for the same tenant and user.")
    on_terminal(("id", "status", "why", "what to do"), [row], console)
    assert [cell for cell in row[:3] if cell not in shown.getvalue()] == []
    assert "\x1b[3" not in shown.getvalue()


def test_a_status_that_there_is_not_is_refused() -> None:
    ended = run("connections", "list", "--status", "needs_reath")
    assert (ended.exit_code, "'needs_reauth'" in ended.stderr) == (2, True)


def test_an_unserved_connection_ends_with_1(vault: Any, lives: Any) -> None:
    vault(dead(), life("conn_fine"))
    assert run("connections", "show", "conn_fine").exit_code == 0
    shown = run("connections", "show", "conn_dead")
    assert (shown.exit_code, "grant_revoked" in shown.stdout) == (1, True)


def test_an_explanation_is_in_words_with_what_to_do(vault: Any, lives: Any) -> None:
    vault(dead())
    told = run("connections", "explain", "conn_dead")
    assert told.exit_code == 0
    assert told.stdout.startswith("It needs a new consent")
    assert "What to do: Open a new session" in told.stdout


def test_a_refusal_of_the_api_is_one_line_with_code_and_remedy(vault: Any, lives: Any) -> None:
    ended = run("connections", "show", "conn_none")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        "authpipe: not_found: There is no connection of that id. "
        "Check the id; it may be deleted or another workspace's.\n"
    )


def test_an_id_never_leads_to_another_route(vault: Any, lives: Any) -> None:
    vault(life("conn_1"))
    assert run("connections", "delete", "x/../conn_1", "--yes").exit_code == 2
    assert run("connections", "show", "conn_1").exit_code == 0


def test_refreshing_says_whether_there_is_a_new_credential(vault: Any, lives: Any) -> None:
    vault(life("conn_1"), credential("conn_1"), dead())
    # The workflow that is played makes no new one.
    ended = run("connections", "refresh", "conn_1", "--json")
    assert (ended.exit_code, json.loads(ended.stdout)["refreshed"]) == (1, False)
    assert [asked[0] for asked in lives.asked] == ["conn_1"]
    refused = run("connections", "refresh", "conn_dead")
    assert (refused.exit_code, refused.stderr.startswith("authpipe: needs_reauth:")) == (1, True)


def test_deleting_asks_somebody(vault: Any, lives: Any) -> None:
    vault(life("conn_1"))
    ended = run("connections", "delete", "conn_1")
    assert (ended.exit_code, "add --yes" in ended.stderr) == (2, True)
    assert lives.told == []


def test_deleting_says_what_is_known_of_the_provider(vault: Any, lives: Any) -> None:
    vault(life("conn_1"))
    ended = run("connections", "delete", "conn_1", "--yes", "--wait", "0.5")
    assert (ended.exit_code, lives.told) == (1, [("delete", "conn_1")])
    assert "Upstream: pending. The provider has not been told yet." in ended.stdout
    assert ids(run("connections", "list", "--status", "revoked")) == ["conn_1"]


def test_an_installation_has_the_same_commands(vault: Any, lives: Any) -> None:
    vault(life("inst_1", kind=Kind.INSTALLATION, user_id=""))
    assert ids(run("installations", "list")) == ["inst_1"]
    assert run("installations", "show", "inst_1").exit_code == 0
    assert run("connections", "show", "inst_1").exit_code == 2


def test_a_workspace_sees_its_own_and_must_exist(vault: Any, lives: Any) -> None:
    vault(Workspace(id="two", name="two", created_at=NOW), life("conn_two", workspace_id="two"), life("conn_1"))
    assert ids(run("connections", "list", "--workspace", "two")) == ["conn_two"]
    assert run("connections", "show", "conn_1", "--workspace", "two").exit_code == 2
    ended = run("connections", "list", "--workspace", "tow")
    assert (ended.exit_code, "there is no workspace 'tow'" in ended.stderr) == (2, True)


def test_temporal_being_away_is_said(vault: Any, lives: Any) -> None:
    lives.away = True
    vault(life("conn_1"))
    shown = run("connections", "show", "conn_1")
    assert (shown.exit_code, "Its workflow did not answer" in shown.stderr) == (0, True)
    ended = run("connections", "delete", "conn_1", "--yes", "--wait", "0")
    assert (ended.exit_code, "The provider has not been told yet" in ended.stdout) == (1, True)


def test_a_warning_never_joins_an_answer(vault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own, without an engine: deleting warns, and standard output still is one JSON document."""
    vault(life("conn_1"))
    monkeypatch.setenv("AUTHPIPE_TEMPORAL_PORT", str(free_port()))
    command = ("connections", "delete", "conn_1", "--yes", "--wait", "0", "--json")
    ended = subprocess.run(
        [sys.executable, "-m", "runtime.cli", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert json.loads(ended.stdout) == {"id": "conn_1", "deleted": True, "upstream": "pending"}
    assert (ended.returncode, "not every workflow could be told" in ended.stderr) == (1, True)


def config(**fields: Any) -> ProviderConfig:
    columns: dict[str, Any] = {
        "id": "cfg_1",
        "workspace_id": "default",
        "provider_id": "jira",
        "client_id": "client",
        "secret_version": 1,
        "sealed_signing_key": b"canary-sealed",
        "verify_user": False,
        "trust_publishable_sessions": False,
        "oauth_redirect_url": "https://app.example.com/oauth/callback",
        "attachment": "user",
        "enabled": True,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return ProviderConfig(**(columns | fields))


def test_a_held_config_says_so_and_ends_with_1(vault: Any, lives: Any) -> None:
    vault(config(hold_kind="misconfigured", held_reason="client_refused", held_until=NOW + timedelta(minutes=5)))
    assert "misconfigured" in run("configs", "list").stdout
    assert run("configs", "show", "cfg_1").exit_code == 1


def test_a_config_can_be_disabled_and_enabled(vault: Any, lives: Any) -> None:
    vault(config())
    assert json.loads(run("configs", "disable", "cfg_1", "--json").stdout)["enabled"] is False
    assert json.loads(run("configs", "enable", "cfg_1", "--json").stdout)["enabled"] is True


def event(event_id: str) -> Event:
    return Event(id=event_id, workspace_id="default", life_id="conn_1", type="connection.needs_reauth", created_at=NOW)


def test_dead_events_are_found_shown_and_refused_where_they_could_go_nowhere(vault: Any, lives: Any) -> None:
    vault(event("evt_1"), event("evt_2"))
    vault(Outbox(event_id="evt_2", life_id="conn_1", workspace_id="default", created_at=NOW, dead_at=NOW))
    assert ids(run("events", "list", "--delivery", "dead")) == ["evt_2"]
    assert (run("events", "show", "evt_1").exit_code, run("events", "show", "evt_2").exit_code) == (0, 1)
    assert run("events", "show", "evt_3").exit_code == 2
    for command in (("events", "replay", "--dead"), ("events", "replay", "evt_2"), ("events", "webhook")):
        ended = run(*command)
        assert (ended.exit_code, ended.stderr.startswith("authpipe: webhook_missing:")) == (1, True)
    assert "No webhook URL is set. Set one with" in run("events", "webhook").stderr
    ended = run("events", "replay")
    assert (ended.exit_code, "name one event, or add --dead" in ended.stderr) == (2, True)


def test_the_right_of_an_operator_is_not_in_an_application_that_is_served(
    vault: Any, lives: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made from the same deps before, beside and after an operator's: every route still wants a key."""
    vault(life("conn_1"))
    made: list[FastAPI] = []

    def remembering(deps: Any) -> FastAPI:
        made.extend((create_app(deps), create_app(deps)))
        return made[-1]

    monkeypatch.setattr(asking, "create_app", remembering)

    async def work(operator: asking.Operator) -> tuple[int, int]:
        allowed = await operator.client.get("/api/connections/conn_1")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made[0]), base_url="http://api") as client:
            served = await client.get("/api/connections/conn_1")
        return allowed.status_code, served.status_code

    assert asking.as_operator("default", work) == (200, 401)
    assert made[0].dependency_overrides == {}


def test_a_catalog_is_listed_and_shown(vault: Any, lives: Any) -> None:
    assert "jira" in ids(run("providers", "list"))
    shown = run("providers", "show", "jira")
    assert (shown.exit_code, "1. " in shown.stdout) == (0, True)


def test_ctrl_c_is_one_line_and_130(vault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asking, "as_operator", interrupted)
    ended = run("connections", "show", "conn_1")
    assert (ended.exit_code, ended.stderr) == (130, "authpipe: interrupted\n")


def test_no_answer_holds_what_is_sealed(vault: Any, lives: Any) -> None:
    vault(config(), life("conn_1"), credential("conn_1"))
    for command in (("connections", "show", "conn_1"), ("configs", "show", "cfg_1"), ("connections", "list")):
        for as_json in ((), ("--json",)):
            assert "canary" not in run(*command, *as_json).output
