"""The README's own commands: the beginning of it leads to a credential, and nothing in it is made up."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from pydantic import BaseModel

from api.config_forms import ProviderConfigRequest
from api.credentials import GetCredentialParams
from api.session_tokens import CreateSessionTokenParams
from runtime.cli import app as command
from runtime.demo_stack import PORTS
from runtime.ports import free_ports
from runtime.settings import PREFIX, variable
from tests.docs.reading import ROOT, blocks, section, text_of

README = text_of("README.md")
TRY_IT = blocks(section(README, "Try it"), "sh")
PAGES = ("README.md", *Path(ROOT, "docs").glob("*.md"))
SHELL = [block for page in PAGES for block in blocks(text_of(str(page)), "sh")]
REQUESTS: dict[str, type[BaseModel]] = {
    "/api/credentials": GetCredentialParams,
    "/oauth/session-tokens": CreateSessionTokenParams,
    "/api/provider-configs": ProviderConfigRequest,
}
PATIENCE_SECONDS = 150


def clone(folder: Path) -> Path:
    """The tracked files and those about to be: what a clone of the next commit holds. Its `.venv` is ours, linked."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".installed":
            (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv" / ".installed").touch()
    return folder


def environment(folder: Path) -> tuple[dict[str, str], str]:
    """Free ports instead of the usual ones, which may be taken on this machine; and the API's port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "MAKE"))}
    ports = {variable(name): str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    return {**kept, **ports, "PYTHONPATH": str(folder)}, ports[variable("api_port")]


@contextmanager
def running(script: str, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """A command in a terminal of its own, ended by Ctrl-C."""
    with Path(folder, "terminal.log").open("wb") as log:
        child = subprocess.Popen(["bash", "-c", script], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield
    finally:
        subprocess.run(["bash", "-c", f"kill -INT -- $(ps -o pid= --ppid {child.pid}) {child.pid}"], check=False)
        child.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_readme_leads_to_a_credential_in_at_most_four_commands(tmp_path: Path) -> None:
    assert len(TRY_IT) <= 4
    folder = clone(tmp_path)
    env, port = environment(folder)
    server, *others = (block.replace("localhost:8080", f"localhost:{port}") for block in TRY_IT)
    assert server.startswith("make dev")
    with running(server, folder, env):
        for block in others:
            ended = subprocess.run(
                ["bash", "-ec", block], cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS
            )
            log = Path(folder, "terminal.log").read_text(errors="replace")[-2000:]
            assert ended.returncode == 0, f"{block}{ended.stdout}{ended.stderr}\n{log}"
    said = json.loads(ended.stdout)
    assert (said["source"], said["credential_type"], said["needs_reauth"]) == ("installation", "oauth_token", False)
    assert said["credential"]


def commands_of(group: Any, path: tuple[str, ...] = ("authpipe",)) -> Iterator[str]:
    for name, inner in getattr(group, "commands", {}).items():
        yield " ".join((*path, name))
        yield from commands_of(inner, (*path, name))


def typed() -> Iterator[list[str]]:
    """Every command line of every `sh` block."""
    for block in SHELL:
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not re.match(r"\s*(#|\"|-)", line):
                yield line.split("#")[0].split()


def test_every_authpipe_command_and_make_target_that_is_shown_exists() -> None:
    known = set(commands_of(typer.main.get_command(command)))
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for words in typed():
        if words[0] == "authpipe":
            assert any(" ".join(words[:length]) in known for length in (2, 3)), words
        if words[0] == "make":
            assert words[1] in targets, words
        if words[0].startswith(".venv/bin/python"):
            assert (ROOT / words[1]).is_file(), words


def requests() -> list[tuple[str, str]]:
    """Path and body of every request in the README."""
    found = []
    for block in blocks(README, "sh"):
        if block.startswith("curl"):
            words = shlex.split(block)
            url = next(word for word in words if "localhost:8080" in word or "://" in word)
            path = urlsplit(url if "://" in url else f"http://{url}").path
            found.append((path, words[words.index("-d") + 1]))
    return found


@pytest.mark.parametrize(("path", "body"), requests())
def test_every_request_of_the_readme_is_one_the_api_takes(path: str, body: str) -> None:
    assert REQUESTS[path].model_validate_json(body)


def test_the_button_in_the_readme_is_one_there_is() -> None:
    script, elements = text_of("sdk/web/authpipe.js"), text_of("sdk/web/README.md")
    (example,) = blocks(README, "html")
    for name in re.findall(r"<(authpipe-[a-z-]+)", example):
        assert f"'{name}'" in script
    (attributes,) = re.findall(r"<authpipe-[a-z-]+ ([^>]*)>", example)
    for name in set(re.findall(r"([a-z-]+)=", attributes)) - {"id"}:
        assert f"`{name}`" in elements
    assert "getSessionToken" in example
    assert "getSessionToken" in elements
    assert len(example.splitlines()) <= 10
