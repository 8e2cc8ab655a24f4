import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from runtime.dev import summary
from runtime.dev_keys import DevKeys
from runtime.ports import free_port, require_free_ports
from runtime.processes import Process, Stack, process, read_record, running_stack, started, write_record
from runtime.settings import Settings

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
PROGRAM = Path(__file__).with_name("stack_of_sleepers.py")


class Run:
    """One `authpipe dev` in a process of its own, and what it printed."""

    def __init__(self, folder: Path, out: Path, api_port: int) -> None:
        self.out = out
        ports = {f"AUTHPIPE_{name}_PORT": str(free_port()) for name in ("TEMPORAL", "TEMPORAL_UI", "SIMULATOR")}
        environment = {**os.environ, **ports, "AUTHPIPE_API_PORT": str(api_port), "AUTHPIPE_DATA_DIR": str(folder)}
        with out.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM)], env=environment, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def printed(self) -> str:
        return self.out.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api_port() -> int:
    return free_port()


@pytest.fixture
def start(folder: Path, api_port: int, tmp_path: Path) -> Iterator[Callable[[], Run]]:
    runs: list[Run] = []

    def run() -> Run:
        runs.append(Run(folder, tmp_path / f"out{len(runs)}", api_port))
        return runs[-1]

    yield run
    for one in runs:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_ending_leaves_no_process_no_lock_no_port_and_no_record(
    start: Callable[[], Run], folder: Path, api_port: int, eventually: Eventually, number: signal.Signals
) -> None:
    run = start()
    await eventually(lambda: "Authpipe is running" in run.printed)
    stack = running_stack(folder)
    assert stack is not None
    assert [part.name for part in stack.parts] == ["temporal", "api", "worker"]
    run.process.send_signal(number)
    assert run.process.wait(10) == 0
    assert [part.name for part in stack.parts if part.alive] == []
    assert list(folder.iterdir()) == []
    require_free_ports({"api_port": api_port})


async def test_a_second_one_on_the_same_folder_gets_one_line(start: Callable[[], Run], eventually: Eventually) -> None:
    first = start()
    await eventually(lambda: "Authpipe is running" in first.printed)
    second = start()
    assert second.process.wait(10) == 2
    (line,) = second.printed.splitlines()
    assert line.startswith("authpipe: ")
    assert f"another `authpipe dev` (process {first.process.pid}) runs on this folder" in line
    assert first.process.poll() is None


async def test_a_part_that_was_killed_comes_back(
    start: Callable[[], Run], folder: Path, eventually: Eventually
) -> None:
    run = start()
    await eventually(lambda: "Authpipe is running" in run.printed)
    stack = running_stack(folder)
    assert stack is not None
    os.kill(stack.parts[2].pid, signal.SIGKILL)
    await eventually(lambda: "worker    | runs again" in run.printed)
    again = read_record(folder)
    assert again is not None
    assert again.parts[2].pid != stack.parts[2].pid


async def test_what_a_killed_run_left_over_is_ended_and_that_is_said(
    start: Callable[[], Run], folder: Path, eventually: Eventually
) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(command, start_new_session=True) as left,
        subprocess.Popen(command, start_new_session=True) as stranger,
    ):
        folder.mkdir()
        parts = (process("worker", left.pid), Process("api", stranger.pid, "another time"))
        write_record(folder, Stack(Process("authpipe", 1, "long ago"), parts, "ready", {}))
        run = start()
        await eventually(lambda: "Authpipe is running" in run.printed)
        assert left.poll() == -signal.SIGTERM
        assert f"ended worker (process {left.pid}), left over from an earlier run" in run.printed
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
async def test_after_being_killed_outright_the_next_run_starts(
    start: Callable[[], Run], folder: Path, eventually: Eventually
) -> None:
    first = start()
    await eventually(lambda: "Authpipe is running" in first.printed)
    stack = running_stack(folder)
    assert stack is not None
    first.process.kill()
    first.process.wait()
    second = start()
    await eventually(lambda: "Authpipe is running" in second.printed)
    assert [started(part.pid) for part in stack.parts] == [None, None, None]


async def test_a_taken_port_gets_one_line_and_starts_nothing(
    start: Callable[[], Run], folder: Path, api_port: int
) -> None:

    with socket.create_server(("127.0.0.1", api_port)):
        run = start()
        assert run.process.wait(10) == 2
    assert run.printed == (
        f"authpipe: port {api_port} is already taken; stop what uses it, or choose another in AUTHPIPE_API_PORT\n"
    )
    assert list(folder.iterdir()) == []


def test_the_summary_never_breaks_what_one_wants_to_copy(settings_with: Callable[..., Settings]) -> None:
    keys = DevKeys("key_1", "ap_sk_" + "s" * 43, "key_2", "ap_pk_" + "p" * 43)
    settings = settings_with(env="development", api_port=8123)
    text = summary(settings, keys)
    for whole in (keys.secret, keys.publishable, "http://localhost:8123/docs", str(settings.data_dir)):
        assert whole in text
