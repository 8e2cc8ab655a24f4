import asyncio
import io
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime import dev
from runtime.console import Console
from runtime.demo_setup import demo_places
from runtime.dev import DevStack, summary
from runtime.dev_keys import DevKeys
from runtime.errors import PortTakenError
from runtime.folder import prepare_folder
from runtime.ports import free_ports, require_free_ports
from runtime.processes import Process, Stack, process, read_record, running_stack, started, write_record
from runtime.settings import Settings, variable

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
SLEEPERS = Path(__file__).with_name("sleepers.py")
PORTS = ("api_port", "temporal_port", "temporal_ui_port", "simulator_port")


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    settings = settings_with(env="development", **dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    prepare_folder(settings.data_dir)
    return settings


@pytest.fixture
async def stack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[asyncio.Task[int], io.StringIO]]:
    """A stack of sleepers that is starting in this process, and what it prints."""
    for name, stand_in in runpy.run_path(str(SLEEPERS))["STAND_INS"].items():
        monkeypatch.setattr(dev, name, stand_in)
    printed = io.StringIO()
    with Console((), printed) as console:
        running = asyncio.create_task(DevStack(settings, console).run())
        yield running, printed
        running.cancel()
        with suppress(asyncio.CancelledError, PortTakenError):
            await running


def is_ready(settings: Settings) -> Callable[[], bool]:
    return lambda: running_stack(settings.data_dir) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_everything_and_leaves_only_the_state(
    stack: tuple[asyncio.Task[int], io.StringIO], settings: Settings, eventually: Eventually, number: signal.Signals
) -> None:
    running, printed = stack
    await eventually(is_ready(settings))
    noted = running_stack(settings.data_dir)
    assert noted is not None
    assert [part.name for part in noted.parts] == ["temporal", "api", "worker"]
    os.kill(os.getpid(), number)
    assert await running == 0
    assert [part.name for part in noted.parts if part.alive] == []
    assert read_record(settings.data_dir) is None
    require_free_ports({"api_port": settings.api_port})
    assert "Authpipe is running" in printed.getvalue()


async def test_a_part_that_was_killed_comes_back_and_is_recorded(
    stack: tuple[asyncio.Task[int], io.StringIO], settings: Settings, eventually: Eventually
) -> None:
    await eventually(is_ready(settings))
    noted = running_stack(settings.data_dir)
    assert noted is not None
    os.kill(noted.parts[2].pid, signal.SIGKILL)
    await eventually(lambda: "worker    | runs again" in stack[1].getvalue())
    again = running_stack(settings.data_dir)
    assert again is not None
    assert [part.name for part in again.parts] == ["temporal", "api", "worker"]
    assert again.parts[2].pid != noted.parts[2].pid


@pytest.fixture
def left_over(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """The worker of an earlier run, and a stranger who got the process id of its API."""
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(command, start_new_session=True) as worker,
        subprocess.Popen(command, start_new_session=True) as stranger,
    ):
        parts = (process("worker", worker.pid), Process("api", stranger.pid, "another time"))
        write_record(settings.data_dir, Stack(Process("authpipe", 1, "long ago"), parts, "ready", {}))
        yield worker, stranger
        worker.kill()
        stranger.kill()


async def test_what_a_killed_run_left_over_is_ended_and_that_is_said(
    left_over: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]],
    stack: tuple[asyncio.Task[int], io.StringIO],
    settings: Settings,
    eventually: Eventually,
) -> None:
    worker, stranger = left_over
    await eventually(is_ready(settings))
    assert worker.poll() == -signal.SIGTERM
    assert f"ended worker (process {worker.pid}), left over from an earlier run" in stack[1].getvalue()
    assert stranger.poll() is None


@pytest.fixture
def taken(settings: Settings) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", settings.simulator_port)):
        yield settings.simulator_port


async def test_a_taken_port_is_found_before_anything_starts(
    taken: int, stack: tuple[asyncio.Task[int], io.StringIO], settings: Settings
) -> None:
    with pytest.raises(PortTakenError, match=f"port {taken} is already taken.*AUTHPIPE_SIMULATOR_PORT"):
        await stack[0]
    assert read_record(settings.data_dir) is None
    assert stack[1].getvalue() == ""


def test_the_summary_never_breaks_what_one_wants_to_copy(settings: Settings) -> None:
    keys = DevKeys("key_1", "ap_sk_" + "s" * 43, "key_2", "ap_pk_" + "p" * 43)
    text = summary(settings, keys)
    addresses = (f"{settings.public_url}/demo", f"{settings.public_url}/openapi.json")
    for whole in (keys.secret, keys.publishable, *addresses, str(settings.data_dir)):
        assert whole in text


def test_the_demo_opens_under_the_servers_own_addresses_alone(settings: Settings) -> None:
    places = demo_places(settings)
    port = settings.api_port
    assert set(places.origins) == {settings.public_url, f"http://localhost:{port}", f"http://127.0.0.1:{port}"}
    assert places.temporal_ui == f"http://localhost:{settings.temporal_ui_port}"
    assert places.simulator == f"http://127.0.0.1:{settings.simulator_port}"


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start(port=…)`: the whole command in a process of its own; what it says is in `out`, refusals in `err`."""
    given = {variable(field): str(getattr(settings, field)) for field in (*PORTS, "data_dir")}
    runs: list[subprocess.Popen[bytes]] = []

    def run(**other: int) -> subprocess.Popen[bytes]:
        told = given | {variable(field): str(value) for field, value in other.items()}
        with (tmp_path / "out").open("a") as out, (tmp_path / "err").open("a") as err:
            runs.append(
                subprocess.Popen([sys.executable, str(SLEEPERS)], env={**os.environ, **told}, stdout=out, stderr=err)
            )
        return runs[-1]

    yield run
    for one in runs:
        one.terminate()
        one.wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("ports", ["the same ports", "ports of its own"])
async def test_a_second_stack_on_one_folder_is_refused_and_the_first_goes_on(
    start: Callable[..., subprocess.Popen[bytes]],
    settings: Settings,
    eventually: Eventually,
    tmp_path: Path,
    ports: str,
) -> None:
    """Two engines would both write to the one file, whatever ports they listen on."""
    first = start()
    await eventually(is_ready(settings))
    noted = running_stack(settings.data_dir)
    assert noted is not None
    other = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) if ports == "ports of its own" else {}
    assert await asyncio.to_thread(start(**other).wait, 60) == 2
    (line,) = (tmp_path / "err").read_text().splitlines()
    assert f"another `authpipe dev` (process {first.pid}) runs on this folder" in line
    assert [part.alive for part in noted.parts] == [True, True, True]
    assert running_stack(settings.data_dir) == noted


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
async def test_after_being_killed_outright_the_next_one_runs_and_ends_leaving_nothing(
    start: Callable[..., subprocess.Popen[bytes]], settings: Settings, eventually: Eventually
) -> None:
    first = start()
    await eventually(is_ready(settings))
    noted = running_stack(settings.data_dir)
    assert noted is not None
    first.kill()
    first.wait()
    second = start()
    await eventually(is_ready(settings))
    assert [started(part.pid) for part in noted.parts] == [None, None, None]
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 0
    assert os.listdir(settings.data_dir) == []  # noqa: PTH208 (ruff holds Path's own for slow)
    require_free_ports({field: getattr(settings, field) for field in PORTS})
