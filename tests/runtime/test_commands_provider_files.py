"""`authpipe providers doctor`: every faulty file in one run, without database, key or network."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from providers.catalog import BUILT_IN
from runtime.cli import app
from runtime.commands.provider_files import call_origins, read_files


def examined(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    monkeypatch.setenv("AUTHPIPE_PROVIDERS_DIR", str(folder))
    return CliRunner().invoke(app, ["providers", "doctor", *options])


def test_the_built_in_files_are_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = examined(tmp_path, monkeypatch)
    assert (ended.exit_code, "0 things are wrong" in ended.stdout) == (0, True)
    assert "The network was not used" in ended.stderr


def test_each_faulty_file_has_its_line_with_file_and_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = (BUILT_IN / "jira.toml").read_text()
    (tmp_path / "jira.toml").write_text(good)
    (tmp_path / "broken.toml").write_text("not = = toml")
    (tmp_path / "misnamed.toml").write_text(good)
    ended = examined(tmp_path, monkeypatch, "--json")
    faults = json.loads(ended.stdout)["faults"]
    assert ended.exit_code == 1
    assert [(Path(fault["file"]).name, fault["key"]) for fault in faults if fault["key"]] == [
        ("jira.toml", "id"),
        ("misnamed.toml", "id"),
    ]
    assert {Path(fault["file"]).name for fault in faults} == {"jira.toml", "misnamed.toml", "broken.toml"}


def test_a_folder_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = examined(tmp_path / "nowhere", monkeypatch)
    assert (ended.exit_code, "AUTHPIPE_PROVIDERS_DIR: is not a folder" in ended.stdout) == (1, True)


def test_an_origin_that_is_not_reached_is_named_and_any_answer_will_do(settings_with: Any) -> None:
    known, faults = read_files(settings_with())
    lost = next(iter(known.values())).token.url.split("/")[2]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == lost:
            raise httpx.ConnectError("certificate verify failed")
        return httpx.Response(404)

    found = asyncio.run(call_origins(known, httpx.MockTransport(answer)))
    assert faults == []
    assert found
    assert {fault.key for fault in found} == {f"https://{lost}"}
    assert "certificate verify failed" in found[0].what
