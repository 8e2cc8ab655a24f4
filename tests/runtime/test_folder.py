import os
from pathlib import Path

import pytest

from runtime import folder
from runtime.errors import FolderInUseError, StartError
from runtime.processes import Stack, process, write_record


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PATIENCE_SECONDS", 0.0)


def test_a_second_holder_is_refused_in_one_line_that_names_the_first(tmp_path: Path) -> None:
    with folder.hold_folder(tmp_path):
        write_record(tmp_path, Stack(process("authpipe", os.getpid()), (), "ready", {}))
        with pytest.raises(FolderInUseError) as caught, folder.hold_folder(tmp_path):
            pytest.fail("both hold the folder")
    assert f"another `authpipe dev` (process {os.getpid()}) runs on this folder" in str(caught.value)


def test_nothing_is_left_after_holding(tmp_path: Path) -> None:
    for _ in range(2):
        with folder.hold_folder(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_stack_that_is_ending_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = folder._try(tmp_path / "dev.lock")
    assert handle is not None
    write_record(tmp_path, Stack(process("authpipe", os.getpid()), (), "ending", {}))
    # The first holder ends while the second one waits.
    monkeypatch.setattr("runtime.folder.time.sleep", lambda _: os.close(handle))
    with folder.hold_folder(tmp_path):
        pass


def test_a_file_where_the_folder_should_be_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="AUTHPIPE_DATA_DIR"):
        folder.prepare_folder(tmp_path / "file" / "data")


def test_a_new_folder_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    folder.prepare_folder(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "data").iterdir()) == []
