import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from runtime.cli import app

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_refusal_is_one_line_and_code_2(tmp_path: Path) -> None:
    ended = run("migrate", AUTHPIPE_DATA_DIR=str(tmp_path), AUTHPIPE_API_PROT="1")
    assert ended.returncode == 2
    assert ended.stderr == (
        "authpipe: AUTHPIPE_API_PROT: there is no such setting; the nearest one is AUTHPIPE_API_PORT\n"
    )


@pytest.mark.parametrize(
    ("entry", "arguments", "code", "said"),
    [
        ("runtime.cli:main", ["version"], 0, metadata.version("authpipe-server")),
        ("runtime.cli:main", ["no-such-command"], 2, ""),
        ("runtime.cli:main", ["migrate"], 2, ""),
        ("runtime.cli:api_main", [], 2, ""),
        ("worker:main", [], 2, ""),
    ],
)
def test_nobody_waits_for_the_interpreter_to_take_itself_apart(
    tmp_path: Path, entry: str, arguments: list[str], code: int, said: str
) -> None:
    """A command that had talked to Temporal was seen to wait for ever there, its work done."""
    module, name = entry.split(":")
    told = "import atexit, sys; from {} import {} as main; atexit.register(print, 'apart'); sys.argv = {}; main()"
    ended = subprocess.run(
        [sys.executable, "-c", told.format(module, name, ["authpipe", *arguments])],
        cwd=ROOT,
        env={**os.environ, "AUTHPIPE_DATA_DIR": str(tmp_path), **({} if said else {"AUTHPIPE_API_PROT": "1"})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout.strip()) == (code, said)
    assert bool(ended.stderr) is bool(code)


@pytest.mark.parametrize("entry", ["runtime.cli:app", "worker:work"])
def test_what_nobody_foresaw_is_shown_and_ends_the_process_all_the_same(entry: str) -> None:
    module, name = entry.split(":")
    told = (
        f"import atexit, {module} as it\natexit.register(print, 'apart')\n"
        f"def fails():\n    raise ValueError('unforeseen')\nit.{name} = fails\nit.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "ValueError: unforeseen" in ended.stderr


@pytest.mark.parametrize(("entry", "code"), [("runtime.cli:api", 1), ("worker:work", 1), ("worker:main", 2)])
def test_what_cannot_be_said_keeps_no_process_from_its_end(entry: str, code: int) -> None:
    """Its errors go to a full disk."""
    module, name = entry.split(":")
    fails = f"def fails():\n    raise ValueError('unforeseen')\nit.{name} = fails\n" if code == 1 else ""
    main = "api_main" if name == "api" else "main"
    told = f"import atexit, {module} as it\natexit.register(print, 'apart')\n{fails}it.{main}()"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", told], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, check=False, timeout=60,
            env={**os.environ, "AUTHPIPE_API_PROT": "1"},
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (code, b"")


def test_a_console_that_nobody_reads_keeps_no_process_from_its_end() -> None:
    """What stands in the pipe's way is more than it holds."""
    told = (
        "from runtime.console import Console\nfrom runtime.ending import leave\n"
        "with Console(()) as console:\n    [console.show('x' * 1000) for _ in range(1000)]\nleave(3)"
    )
    unbuffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen([sys.executable, "-c", told], cwd=ROOT, stdout=subprocess.PIPE, env=unbuffered) as child:
        assert child.wait(60) == 3


@pytest.mark.parametrize("closed", ["1>&-", "2>&-"])
def test_a_closed_stream_is_no_failure(closed: str) -> None:
    told = ["sh", "-c", f'"$0" -m runtime.cli version {closed}', sys.executable]
    assert subprocess.run(told, cwd=ROOT, capture_output=True, check=False, timeout=60).returncode == 0


def test_production_without_a_key_refuses_to_serve(tmp_path: Path) -> None:
    ended = run("api", AUTHPIPE_DATA_DIR=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith("authpipe: AUTHPIPE_KEY_ENCRYPTION_KEY: no key-encryption key is set")
    assert len(ended.stderr.splitlines()) == 1


def test_a_key_is_printed_once_alone_on_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHPIPE_DATA_DIR", str(tmp_path))
    cli = CliRunner()
    assert cli.invoke(app, ["migrate"]).exit_code == 0
    added = cli.invoke(app, ["api-keys", "add", "first", "--role", "publishable"])
    assert added.exit_code == 0
    key_id = added.stderr.split()[0]
    assert added.stdout.startswith("ap_pk_")
    assert len(added.stdout.split()) == 1
    assert key_id in cli.invoke(app, ["api-keys", "list"]).stdout
    revoked = cli.invoke(app, ["api-keys", "revoke", key_id])
    assert (revoked.exit_code, "up to five seconds" in revoked.stdout) == (0, True)
    assert cli.invoke(app, ["api-keys", "list"]).stdout == ""


def test_rewrapping_says_how_many_data_keys_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHPIPE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AUTHPIPE_KEY_ENCRYPTION_KEY", f"key1:{'A' * 43}=")
    cli = CliRunner()
    assert cli.invoke(app, ["migrate"]).exit_code == 0
    asked = cli.invoke(app, ["keys", "rewrap"])
    assert (asked.exit_code, asked.stdout) == (0, "0 data keys were wrapped anew.\n")
    asked = cli.invoke(app, ["keys", "rewrap", "--json"])
    assert (asked.exit_code, json.loads(asked.stdout)) == (0, {"wrapped": 0})


def leaves(group: Any, path: tuple[str, ...] = ("authpipe",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(group, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not hasattr(group, "commands"):
        yield path, group


LEAVES = dict(leaves(typer.main.get_command(app)))
# They run until they are ended, tell a story, or print what is JSON anyway.
NO_DOCUMENT = {"dev", "demo", "api", "worker", "openapi"}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_help_page_says_what_for_and_shows_how_and_every_answer_may_be_json(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert command.help
    assert f"{' '.join(path)}" in (command.epilog or "")
    options = {option for part in command.params for option in part.opts}
    assert ("--json" in options) is (path[-1] not in NO_DOCUMENT)


def test_keys_are_made_and_ended_in_json_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHPIPE_DATA_DIR", str(tmp_path))
    cli = CliRunner()
    assert json.loads(cli.invoke(app, ["migrate", "--json"]).stdout).keys() == {"revision"}
    made = json.loads(cli.invoke(app, ["api-keys", "add", "one", "--json"]).stdout)
    assert (made.keys(), made["key"][:6]) == ({"id", "role", "name", "key"}, "ap_sk_")
    ended = json.loads(cli.invoke(app, ["api-keys", "revoke", made["id"], "--json"]).stdout)
    assert ended == {"id": made["id"], "revoked": True}
