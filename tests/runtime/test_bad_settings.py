"""Every setting given wrongly, in every way that was thought of: one line that names it and shows no value."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runtime import dev
from runtime.cli import app
from runtime.errors import StartError
from runtime.settings import Settings, load_settings, variable

ROOT = Path(__file__).parents[2]
CANARY = "s3cr3t"
# Under each setting, values that cannot be. `{here}` is a folder of the test's own, which is empty.
WRONG: dict[str, tuple[str, ...]] = {
    "env": (CANARY, "prod"),
    "data_dir": (),
    "database_url": (
        CANARY,
        f"mysql://u:{CANARY}@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        f"sqlite:///a.db?{CANARY}=1",
        f"sqlite://{CANARY}/a.db",
        f"postgresql://u:{CANARY}@h:port/d",
        f"postgresql://u:{CANARY}@h:99999/d",
        f"postgresql://u:{CANARY}@{'h' * 64}/d",
        f"postgresql://u:{CANARY}@h/d?sslmode=sometimes",
        f"postgresql://u:{CANARY}@h/d?channel_binding=require",
    ),
    "database_url_file": (f"{{here}}/{CANARY}", "{here}"),
    "api_host": ("a b", "h" * 64, "http://localhost", f"{CANARY}/x", "local\thost"),
    "api_port": ("", CANARY, "0", "65536", "80.5", "-1", "9" * 5000),
    "temporal_port": (CANARY, "0"),
    "temporal_ui_port": (CANARY, "65536"),
    "simulator_port": (CANARY, "-1"),
    "public_url": (
        CANARY,
        f"ftp://{CANARY}",
        f"http://{CANARY}.example.com",
        f"https://a.example.com/{CANARY}",
        f"https://u:{CANARY}@a.example.com",
        "https://a.example.com:99999",
        "https://[::1",
    ),
    "providers_dir": (),
    "provider_origins": (f"{{{CANARY}", f'["{CANARY}"]', f'{{"jira": "{CANARY}"}}', f'"{CANARY}"'),
    "key_encryption_key": (),
    "key_encryption_key_file": (),
    "refresh_lease_seconds": (CANARY, "4", "31", "10.5"),
    "provider_timeout_seconds": (CANARY, "0", "-1", "16", "nan", "inf"),
    "session_minutes": (CANARY, "0", "121"),
    "selection_minutes": (CANARY, "0", "1441"),
    "verification_minutes": (CANARY, "0", "1441"),
    "reconcile_starts_per_second": (CANARY, "0", "10001", "nan"),
    "provider_calls_per_second": (CANARY, "0", "inf"),
    "probe_share": (CANARY, "0", "1.1"),
    "webhook_networks": (CANARY, "10.0.0.1/8", "10.0.0.0/8;fd00::/8"),
    "webhook_retry_days": (CANARY, "0", "31"),
    "keep_sessions_days": (CANARY, "0", "3651"),
    "keep_ledger_days": (CANARY, "0.5"),
    "keep_events_days": (CANARY, "-1"),
    "keep_tombstones_days": (CANARY, "0"),
    "worker_deployment": ("a b", f"{CANARY}/x"),
    "worker_build_id": ("a b", f"{CANARY}/x"),
    "metrics_address": (CANARY, "9464", "localhost:9464", "127.0.0.1:0", "127.0.0.1:65536", "::1:9464"),
    "log_format": (CANARY,),
    "log_level": (CANARY, "trace"),
    "pause_dir": (f"/{CANARY}",),
    "sandbox": (CANARY, "2"),
}
# Any text may be a path or a key; they are looked at when they are used.
USED_LATER = {"data_dir", "providers_dir", "key_encryption_key", "key_encryption_key_file"}
CASES = [(field, value) for field, values in WRONG.items() for value in values if value]


def test_every_setting_has_its_wrong_values_or_is_looked_at_later() -> None:
    assert set(WRONG) == set(Settings.model_fields)
    assert {field for field, values in WRONG.items() if not values} == USED_LATER


@pytest.mark.parametrize(("field", "value"), CASES, ids=lambda text: re.sub(r"\W+", "-", text)[:40])
def test_a_wrong_value_is_refused_in_one_line_that_names_it_and_shows_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str, value: str
) -> None:
    monkeypatch.setenv(variable(field), value.format(here=tmp_path) if "{here}" in value else value)
    with pytest.raises(StartError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith(f"{variable(field)}: ")
    assert (CANARY in said, "\n" in said, len(said) < 300) == (False, False, True)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"key_encryption_key": "k:a", "key_encryption_key_file": "/f"}, "KEY_ENCRYPTION_KEY"),
        ({"database_url": "sqlite:///a.db", "database_url_file": "/f"}, "DATABASE_URL"),
        ({"refresh_lease_seconds": "15"}, "PROVIDER_TIMEOUT_SECONDS"),
        ({"provider_origins": '{"jira": "http://127.0.0.1:1"}'}, "PROVIDER_ORIGINS"),
        ({"pause_dir": "/f"}, "PAUSE_DIR"),
    ],
)
def test_two_that_contradict_each_other_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for field, value in given.items():
        monkeypatch.setenv(variable(field), value)
    with pytest.raises(StartError, match=rf"^AUTHPIPE_{named}: [^\n]+$"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("AUTHPIPE_DATABSE_URL", "DATABASE_URL"), ("authpipe_log_levl", "LOG_LEVEL"), ("AUTHPIPE_", "ENV")],
)
def test_an_unknown_name_is_met_by_a_known_one(monkeypatch: pytest.MonkeyPatch, name: str, nearest: str) -> None:
    monkeypatch.setenv(name, CANARY)
    with pytest.raises(
        StartError, match=rf"^{name.upper()}: there is no such setting; the nearest one is AUTHPIPE_\w+$"
    ) as caught:
        load_settings()
    assert nearest in str(caught.value) or name == "AUTHPIPE_"


def test_a_url_as_vendors_print_it_is_understood() -> None:
    printed = "postgres://u:p%40ss@db.example.com:5433/x?sslmode=require"
    assert load_settings(database_url=printed).database_url == (
        "postgresql+asyncpg://u:p%40ss@db.example.com:5433/x?ssl=require"
    )
    socket = "postgresql://authpipe@/x?host=/run/postgresql"
    assert load_settings(database_url=socket).database_url.startswith("postgresql+asyncpg://authpipe@/x?host=")


# --- what is looked at when it is used, at every command that uses it ------------------------------------------------

BEYOND = "A" * 43 + "="
MISUSED = {
    "a folder that is a file": {"AUTHPIPE_DATA_DIR": "{here}/file"},
    "a database in no folder": {"AUTHPIPE_DATABASE_URL": "sqlite:///{here}/file/x.db"},
    "a database that is none": {"AUTHPIPE_DATABASE_URL": "sqlite:///{here}/file"},
    "a database that does not answer": {"AUTHPIPE_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/d"},
    "a database whose certificate cannot be checked": {
        "AUTHPIPE_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/d?sslmode=verify-full",
        "PGSSLROOTCERT": "",
        "HOME": "{here}",
    },
    "providers in no folder": {"AUTHPIPE_PROVIDERS_DIR": "{here}/none"},
    "a key without an id": {"AUTHPIPE_KEY_ENCRYPTION_KEY": CANARY},
    "a key that is too short": {"AUTHPIPE_KEY_ENCRYPTION_KEY": "key1:Y2FuYXJ5"},
    "a key file that is none": {"AUTHPIPE_KEY_ENCRYPTION_KEY": "", "AUTHPIPE_KEY_ENCRYPTION_KEY_FILE": "{here}/none"},
    "a key file that is a folder": {"AUTHPIPE_KEY_ENCRYPTION_KEY": "", "AUTHPIPE_KEY_ENCRYPTION_KEY_FILE": "{here}"},
    "no key": {"AUTHPIPE_KEY_ENCRYPTION_KEY": ""},
    "an unknown name": {"AUTHPIPE_API_PROT": CANARY},
    "a wrong value": {"AUTHPIPE_API_PORT": CANARY},
}
# What a command does not use is not its business.
KEYLESS = {
    "a key without an id",
    "a key that is too short",
    "a key file that is none",
    "a key file that is a folder",
    "no key",
}
UNCONCERNED: dict[str, set[str]] = {
    "migrate": KEYLESS | {"providers in no folder"},
    "reconcile": KEYLESS | {"providers in no folder"},
    "api": set(),
    "worker": set(),
    "dev": {"no key", "providers in no folder"},
    "connections list": set(),
}
REFUSALS = [(command, case) for command, free in UNCONCERNED.items() for case in MISUSED if case not in free]


@pytest.fixture
def misused(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path, quiet_logs: None
) -> Callable[[str], None]:
    """Sets what a case says, over a vault that is in order."""
    (tmp_path / "file").write_text("not a database, and not a folder either\n" * 100)
    given = {
        "AUTHPIPE_DATA_DIR": f"{tmp_path}/data",
        "AUTHPIPE_DATABASE_URL": sqlite_url,
        "AUTHPIPE_KEY_ENCRYPTION_KEY": f"key1:{BEYOND}",
    }

    def misuse(case: str) -> None:
        changed = {name: value.format(here=tmp_path) for name, value in MISUSED[case].items()}
        if "AUTHPIPE_DATA_DIR" in changed:
            given["AUTHPIPE_DATABASE_URL"] = ""
        for name, value in (given | changed).items():
            monkeypatch.setenv(name, value)

    return misuse


@pytest.mark.parametrize(("command", "case"), REFUSALS)
def test_a_command_refuses_what_it_cannot_use_in_one_line_with_code_2(
    misused: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, command: str, case: str
) -> None:
    misused(case)
    # Whoever came this far would start real servers.
    monkeypatch.setattr(dev.Supervisor, "start", _started)
    ended = CliRunner().invoke(app, command.split())
    assert (ended.exit_code, ended.stdout) == (2, "")
    lines = ended.stderr.splitlines()
    assert (len(lines), lines[0].startswith("authpipe: ")) == (1, True), ended.stderr
    assert not {word for word in (CANARY, "Y2FuYXJ5", "Traceback") if word in ended.stderr}


async def _started(*_: Any) -> None:
    raise AssertionError("a part was started")


@pytest.mark.parametrize("case", [case for case in MISUSED if case not in {"an unknown name", "a wrong value"}])
def test_the_doctor_finds_what_the_others_refuse(misused: Callable[[str], None], case: str) -> None:
    misused(case)
    ended = CliRunner().invoke(app, ["doctor"])
    assert ended.exit_code == 1
    assert not {word for word in (CANARY, "Y2FuYXJ5", "Traceback", "check_failed") if word in ended.output}


def test_a_program_of_its_own_refuses_so_too(misused: Callable[[str], None]) -> None:
    misused("a wrong value")
    ended = subprocess.run([sys.executable, "-m", "worker"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert ended.stderr.startswith("authpipe: AUTHPIPE_API_PORT: must be a valid integer")
