"""The doctor and the addresses of configs: real servers on this machine, ours, another vault's, and strangers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.app import create_app
from runtime.compose import open_api_deps
from runtime.doctor.findings import Code
from runtime.ports import free_port
from runtime.settings import Settings
from runtime.vault_setup import clock, open_vault
from tests.runtime.doctoring import KEY, only, outcome
from tests.runtime.test_doctor_vault import silent_server
from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.instance import instance_of

CALLBACK = "/oauth/callback"


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application on a port of this machine; yields its origin."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, ws="none"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def api_of(settings: Settings) -> AsyncIterator[str]:
    async with open_api_deps(settings) as deps, served(create_app(deps)) as origin:
        yield origin


@pytest.fixture
def settings(settings_with: Callable[..., Settings], sqlite_url: str) -> Settings:
    return settings_with(env="development", database_url=sqlite_url, key_encryption_key=KEY)


@pytest.fixture
def another(settings_with: Callable[..., Settings], sqlite_template: Path, tmp_path: Path) -> Settings:
    """A vault of the same key, which is none the less another one."""
    file = shutil.copy(sqlite_template, tmp_path / "another.db")
    return settings_with(env="development", database_url=f"sqlite:///{file}", key_encryption_key=KEY)


async def config(settings: Settings, url: str, **more: Any) -> str:
    async with open_vault(settings) as vault:
        new = NewConfig("jira", "client", "canary-secret", url, "user", **more)
        return (await configs.create(vault.db, Sealer(vault.keys), "default", new, clock())).id


def answering(status: int, body: bytes, **headers: str) -> Any:
    """A stranger's application: this, whatever is asked."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})
        await send({"type": "http.response.body", "body": body})

    return app


async def test_a_redirect_url_that_leads_to_any_api_of_this_vault_is_well(settings: Settings) -> None:
    async with api_of(settings) as one, api_of(settings) as two:
        await config(settings, one + CALLBACK)
        await config(settings, two + CALLBACK)
        assert (await outcome(settings, "redirect URLs")).findings == []


async def test_without_a_config_there_is_nothing_to_ask(settings: Settings) -> None:
    assert (await outcome(settings, "redirect URLs")).findings == []


async def test_a_redirect_url_that_leads_to_the_api_of_another_vault_is_found(
    settings: Settings, another: Settings
) -> None:
    async with api_of(another) as origin:
        config_id = await config(settings, origin + CALLBACK)
        finding = await only(settings, "redirect URLs")
    assert finding.code == Code.REDIRECT_URL_ASTRAY
    assert f"{origin}{CALLBACK} (config {config_id}): the API of another vault" in finding.what
    assert "oauth_redirect_url" in finding.remedy


@pytest.mark.parametrize("path", ["/callback", "/oauth/callback/", "/"])
async def test_a_path_that_does_not_lead_to_the_callback_is_found(settings: Settings, path: str) -> None:
    async with api_of(settings) as origin:
        await config(settings, origin + path)
        finding = await only(settings, "redirect URLs")
    assert (finding.code, "its path does not lead" in finding.what) == (Code.REDIRECT_URL_ASTRAY, True)


@pytest.mark.parametrize(
    "stranger",
    [
        answering(200, b"<h1>canary</h1>"),
        answering(200, b'{"instance": null}'),
        answering(200, b'{"instance": "canary"}'),
        answering(200, b"[" * 4000),
        answering(200, b'{"instance": "' + b"canary" * 100_000 + b'"}'),
        answering(404, b'{"code": "not_found"}'),
    ],
    ids=["a page", "null", "another id", "deep", "endless", "nothing there"],
)
async def test_a_stranger_is_found_and_not_quoted(settings: Settings, stranger: Any) -> None:
    async with served(stranger) as origin:
        await config(settings, origin + CALLBACK)
        finding = await only(settings, "redirect URLs")
    assert finding.code == Code.REDIRECT_URL_ASTRAY
    assert "canary" not in finding.what


async def test_no_redirect_is_followed(settings: Settings) -> None:
    async with api_of(settings) as ours, served(answering(307, b"", location=f"{ours}/oauth/instance")) as elsewhere:
        await config(settings, elsewhere + CALLBACK)
        finding = await only(settings, "redirect URLs")
    assert (finding.code, "(307 for /oauth/instance)" in finding.what) == (Code.REDIRECT_URL_ASTRAY, True)


async def test_an_address_where_nobody_listens_is_found_beside_one_that_is_well(settings: Settings) -> None:
    async with api_of(settings) as ours:
        refused = f"http://127.0.0.1:{free_port()}{CALLBACK}"
        for url in (refused, ours + CALLBACK):
            await config(settings, url)
        finding = await only(settings, "redirect URLs")
    assert finding.code == Code.REDIRECT_URL_UNREACHABLE
    assert (refused in finding.what, "cannot be reached (ConnectError)" in finding.what) == (True, True)


async def test_an_address_where_somebody_listens_and_says_nothing_is_found_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.doctor.address_checks.SECONDS", 0.2)
    async with silent_server() as silent:
        await config(settings, f"http://127.0.0.1:{silent}{CALLBACK}")
        finding = await only(settings, "redirect URLs")
    assert (finding.code, "no answer within 0.2 s" in finding.what) == (Code.REDIRECT_URL_UNREACHABLE, True)


async def test_what_is_disabled_or_deleted_is_not_asked(settings: Settings) -> None:
    await config(settings, f"http://127.0.0.1:{free_port()}{CALLBACK}", enabled=False)
    assert (await outcome(settings, "redirect URLs")).findings == []


async def test_the_instance_is_the_vaults_own_and_tells_nothing_else(settings: Settings, another: Settings) -> None:
    async with api_of(settings) as origin, httpx.AsyncClient() as client:
        answers = [await client.get(f"{origin}/oauth/instance", params={"anything": "x"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert set(answers[0].json()) == {"instance"}
    assert answers[0].headers["cache-control"] == "no-store"
    async with open_vault(settings) as vault, open_vault(another) as other:
        assert answers[0].json()["instance"] == await instance_of(vault.keys) != await instance_of(other.keys)
        key = await vault.keys.data_key("default")
        assert key.secret.hex()[:32] != await instance_of(vault.keys)
