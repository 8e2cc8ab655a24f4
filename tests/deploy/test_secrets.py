"""`deploy/make-secrets.sh` makes what docker-compose.yml reads, and the server takes it."""

import subprocess
from pathlib import Path

import pytest

from runtime.keys import load_key_ring
from runtime.settings import load_settings
from tests.deploy.reading import COMPOSE, ROOT

SCRIPT = ROOT / "deploy" / "make-secrets.sh"


def made(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["sh", str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets") / "made"
    ended = made(folder)
    assert ended.returncode == 0, ended.stderr
    held = [file.read_text().strip() for file in folder.iterdir()]
    assert not any(secret in ended.stdout + ended.stderr for secret in held)
    return folder


def test_it_makes_each_file_that_compose_names(secrets: Path) -> None:
    assert {f"./secrets/{file.name}" for file in secrets.iterdir()} == {
        secret["file"] for secret in COMPOSE["secrets"].values()
    }


def test_every_container_can_read_them_and_no_other_user_of_the_machine(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o644}


def test_the_server_takes_them(secrets: Path) -> None:
    settings = load_settings(
        database_url_file=secrets / "database_url", key_encryption_key_file=secrets / "key_encryption_key"
    )
    password = (secrets / "authpipe_password").read_text().strip()
    assert settings.database_url == f"postgresql+asyncpg://authpipe:{password}@postgres:5432/authpipe"
    assert set(load_key_ring(settings)) == {"key1"}


def test_a_second_run_changes_nothing(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    assert made(secrets).returncode == 1
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
