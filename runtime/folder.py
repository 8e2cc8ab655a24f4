"""The data folder: writable, and held by one `authpipe dev` at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import FolderInUseError, StartError
from runtime.processes import read_record
from runtime.settings import variable

PATIENCE_SECONDS = 1.0
ENDING_SECONDS = 20.0
_POLL_SECONDS = 0.05


def prepare_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, and write into it. Raises `StartError`."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartError(
            f"{folder}: the data folder cannot be written ({error.strerror}); "
            f"free it, or name another in {variable('data_dir')}"
        ) from None


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the folder until the end of the block; the system lets go if we die. Raises `FolderInUseError`.

    Two Temporal servers on one file would both accept writes, so nothing is started without this.
    """
    file = folder / "dev.lock"
    handle = _acquire(file)
    try:
        yield
    finally:
        # Unlinked while still held, so that no other can hold the name and we its inode.
        file.unlink(missing_ok=True)
        os.close(handle)


def _acquire(file: Path) -> int:
    began = time.monotonic()
    while True:
        handle = _try(file)
        if handle is not None:
            return handle
        stack = read_record(file.parent)
        ending = stack is not None and stack.state == "ending"
        if time.monotonic() - began > (ENDING_SECONDS if ending else PATIENCE_SECONDS):
            who = f" (process {stack.supervisor.pid})" if stack else ""
            raise FolderInUseError(
                f"{file.parent}: another `authpipe dev`{who} runs on this folder; "
                f"stop it, or name another folder in {variable('data_dir')}"
            )
        time.sleep(_POLL_SECONDS)


def _try(file: Path) -> int | None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == file.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
