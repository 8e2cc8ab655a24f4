"""A real file system of a few megabytes, to be filled: what a full disk does cannot be played by a mock."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MEGABYTES = 6


@dataclass(frozen=True)
class SmallDisk:
    """Mounted at `folder`; `vault` is a migrated SQLite database on it."""

    folder: Path

    @property
    def vault(self) -> Path:
        return self.folder / "vault.db"

    @property
    def url(self) -> str:
        return f"sqlite+aiosqlite:///{self.vault}"

    def fill(self) -> None:
        """Leave no byte. The log is emptied first: its old pages could be written over without any room."""
        with closing(sqlite3.connect(self.vault)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        handle = os.open(self.folder / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (65536, 4096, 1):
                while self._more(handle, size):
                    pass
        finally:
            os.close(handle)

    def _more(self, handle: int, size: int) -> bool:
        try:
            return os.write(handle, b"\0" * size) == size
        except OSError:
            return False

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, template: Path) -> Iterator[SmallDisk]:
    """One in `folder`, with a copy of a migrated database. Skips the test where mounting is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        disk = SmallDisk(folder)
        shutil.copy(template, disk.vault)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
