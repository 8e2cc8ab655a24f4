"""The simulator as a process: connections really cut, state kept, nothing secret in its log."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(port: int, tmp_path: Path) -> Iterator[Start]:
    """Starts a simulator on the test's port and waits until it answers."""
    with ExitStack() as stack:

        def starter(*flags: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", "simulator", "--port", str(port), *flags]
            log = stack.enter_context((tmp_path / "log").open("ab"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONWARNINGS": "error"})
            stack.callback(_end, process)
            _wait(process, port)
            return process

        yield starter


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            httpx.get(f"http://127.0.0.1:{port}/_admin/clock")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail("the simulator does not answer")


def _log_with(path: Path, line: str) -> str:
    """The log once `line` is in it: it is written just after the answer was sent."""
    deadline = time.monotonic() + 10
    while line not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.02)
    return path.read_text()


@pytest.fixture
async def over_wire(port: int, sim: Any) -> Any:
    """The same driver as in process, over a real connection."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        sim.http = http
        yield sim


async def test_a_dropped_connection_is_really_cut(start: Start, over_wire: Any) -> None:
    start()
    token = (await over_wire.connect())["refresh_token"]
    for kind, presented in (("drop_before", 0), ("drop_after", 1)):
        await over_wire.admin("POST", "faults", endpoint="token", kind=kind)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await over_wire.refresh(token)
        assert (await over_wire.lookup("refresh", token))["presented"] == presented
    assert (await over_wire.refresh(token)).status_code == 200


async def test_state_survives_a_kill_and_holds_no_secret(start: Start, over_wire: Any, tmp_path: Path) -> None:
    state = tmp_path / "kept" / "simulator.json"
    process = start("--state", str(state))
    code = await over_wire.consent(token_lifetime="77")
    tokens = (await over_wire.exchange(code)).json()
    tokens = (await over_wire.refresh(tokens["refresh_token"])).json()
    process.kill()
    process.wait()
    start("--state", str(state))
    assert (await over_wire.grant())["counters"]["refreshes"] == 1
    renewed = (await over_wire.refresh(tokens["refresh_token"])).json()
    assert renewed["expires_in"] == 77
    written = state.read_text() + (tmp_path / "log").read_text()
    secrets = (code, tokens["access_token"], tokens["refresh_token"], over_wire.secret)
    assert not any(secret in written for secret in secrets)
    assert list(state.parent.iterdir()) == [state]
    assert state.stat().st_mode & 0o777 == 0o600


async def test_the_log_has_no_query_strings(start: Start, over_wire: Any, tmp_path: Path) -> None:
    start()
    await over_wire.open(state="canary-state")
    log = _log_with(tmp_path / "log", "GET /authorize 200")
    assert "canary-state" not in log


async def test_the_issuer_follows_the_address_listened_on(start: Start, over_wire: Any, port: int) -> None:
    start()
    path, called_as = "/plain/.well-known/oauth-authorization-server", {"Host": f"localhost:{port}"}
    metadata = (await over_wire.http.get(path, headers=called_as)).json()
    assert metadata["issuer"] == f"http://127.0.0.1:{port}/plain"


def test_a_bad_flag_or_state_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    for flags in (("--token-lifetime", "0"), ("--state", str(tmp_path / "broken"))):
        command = [sys.executable, "-m", "simulator", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("simulator: ")
        assert done.stderr.count("\n") == 1
