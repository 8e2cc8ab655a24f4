import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.common import SearchAttributeIndexedValueType

from runtime import temporal_server
from runtime.errors import StartError
from runtime.settings import Settings
from runtime.temporal_server import find_binary, new_store, server_command, server_version, store_file
from workflows.attributes import KEYS


def words_after(command: tuple[str, ...], option: str) -> list[str]:
    return [command[n + 1] for n, word in enumerate(command) if word == option]


def test_the_file_is_named_by_the_servers_version(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(temporal_port=7001, temporal_ui_port=7002)
    command = server_command(settings)
    version = server_version(find_binary())
    assert words_after(command, "--db-filename") == [str(settings.data_dir / f"temporal-{version}.db")]
    assert words_after(command, "--port") == ["7001"]
    assert words_after(command, "--ui-port") == ["7002"]


def test_a_new_version_says_that_it_begins_empty_and_what_is_left_of_others(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with()
    settings.data_dir.mkdir()
    assert new_store(settings) == "", "a new folder is no news"
    (settings.data_dir / "temporal-0.9.0.db").touch()
    (settings.data_dir / "temporal-0.9.0.db-wal").touch()
    said = new_store(settings)
    assert said.endswith(": temporal-0.9.0.db")
    assert store_file(settings).name in said
    assert "\n" not in said
    store_file(settings).touch()
    assert new_store(settings) == "", "only the first time"


def test_the_server_is_tuned_and_fair(settings_with: Callable[..., Settings]) -> None:
    command = server_command(settings_with())
    assert "matching.enableFairness=true" in words_after(command, "--dynamic-config-value")
    assert "history.timerProcessorMaxPollRPS=200" in words_after(command, "--dynamic-config-value")
    assert words_after(command, "--sqlite-pragma") == ["journal_mode=WAL", "synchronous=NORMAL"]
    assert words_after(command, "--ip") == ["127.0.0.1"]


def test_the_server_knows_our_attributes_from_the_start_on(settings_with: Callable[..., Settings]) -> None:
    told = words_after(server_command(settings_with()), "--search-attribute")
    assert told == [f"{key.name}=Keyword" for key in KEYS]
    assert {int(key.indexed_value_type) for key in KEYS} == {int(SearchAttributeIndexedValueType.KEYWORD)}


def test_an_absent_program_gives_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(StartError, match="`temporal` is not installed"):
        find_binary()


def test_another_program_of_that_name_gives_one_line() -> None:
    with pytest.raises(StartError, match="does not tell its version"):
        server_version(Path(sys.executable))


async def test_a_server_that_is_not_there_does_not_answer(settings_with: Callable[..., Settings]) -> None:
    assert not await temporal_server.server_answers(settings_with(temporal_port=1))
