import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.processes import (
    Process,
    Stack,
    end,
    process,
    read_record,
    record_file,
    running_stack,
    started,
    write_record,
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as child:
        yield child
        child.kill()


def test_a_leftover_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    left = process("worker", sleeper.pid)
    assert end([left]) == [left]
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_process_that_got_a_recycled_id_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    assert end([Process("worker", sleeper.pid, "another time")]) == []
    assert sleeper.poll() is None


def test_one_that_ignores_being_asked_is_killed() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        end([process("worker", child.pid)], seconds=0.1)
        assert child.wait(5) == -signal.SIGKILL


def test_a_dead_child_that_nobody_reaped_counts_as_gone(sleeper: subprocess.Popen[bytes]) -> None:
    noted = process("worker", sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert started(sleeper.pid) is None
    assert not noted.alive


def test_what_was_recorded_is_read_back_and_private(tmp_path: Path) -> None:
    stack = Stack(process("authpipe", os.getpid()), (Process("api", 7, "x"),), "ready", {"api": "http://x"})
    write_record(tmp_path, stack)
    assert read_record(tmp_path) == stack
    assert record_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert running_stack(tmp_path) == stack


def test_a_record_of_a_dead_stack_is_no_running_stack(tmp_path: Path) -> None:
    write_record(tmp_path, Stack(Process("authpipe", os.getpid(), "long ago"), (), "ready", {}))
    assert running_stack(tmp_path) is None


def test_a_broken_record_counts_as_none(tmp_path: Path) -> None:
    record_file(tmp_path).write_text("{")
    assert read_record(tmp_path) is None
