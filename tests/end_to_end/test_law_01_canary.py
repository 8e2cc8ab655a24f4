"""Law 1: no secret in history. Everything secret of a whole life is searched for wherever Temporal, the vault, logs,
metrics and traces could have written it down, in every form a program is likely to have given it.
"""

import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlmodel import select
from temporalio.client import Client

from runtime.demo_visitor import Visitor
from runtime.keys import load_key_ring
from runtime.settings import load_settings
from tests.end_to_end.receiver import receiving
from vault.credentials import current, open_secrets
from vault.crypto import Sealer
from vault.database import Database
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.lives import get_life
from vault.sealing import VERIFIER, visit_owner
from vault.sessions import get_session
from vault.tables import Visit

ONE = ("Acme Engineering",)
CONTROL = "control-canary-5f1d0b7c2e9a4d6f"


def forms(secret: str | bytes) -> Iterator[bytes]:
    """Raw, hex, percent-encoded, and base64 in its three alignments, less the characters a neighbour decides."""
    raw = secret.encode() if isinstance(secret, str) else secret
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield "".join(f"%{byte:02X}" for byte in raw).encode()
    yield quote(raw, safe="").encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        core = encoded[4 if shift else 0 : -4]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


def found(secret: str | bytes, haystack: bytes) -> bool:
    return any(form in haystack for form in forms(secret))


@pytest.mark.parametrize("shift", range(3))
def test_every_form_is_found_where_it_is_planted(shift):
    secret = "an+odd/secret-of_some~length"
    for planted in (
        secret,
        secret.encode().hex(),
        quote(secret, safe=""),
        base64.b64encode(b"x" * shift + secret.encode() + b"tail").decode(),
        base64.urlsafe_b64encode(b"x" * shift + secret.encode() + b"tail").decode(),
    ):
        assert found(secret, f"before{planted}after".encode())


async def test_law_01_no_secret_is_found_in_history_files_logs_or_telemetry(stack):
    async with receiving() as receiver:
        secrets = await have_events_sent(stack, receiver)
        secrets |= await live_a_whole_life(stack) | await be_told_by_the_provider(stack)
        await stack.until(partial(both_signed, receiver))
    assert (await stack.api.delete("/api/webhook-config")).status_code == 204
    await plant_a_control_canary(stack)
    haystacks = {**files(stack), **await histories(stack), **await telemetry(stack)}

    assert any(found(CONTROL, text) for name, text in haystacks.items() if "temporal" in name)
    assert any(found(CONTROL, text) for name, text in haystacks.items() if "describe" in name)
    leaks = [
        (kind, name) for kind, secret in secrets.items() for name, text in haystacks.items() if found(secret, text)
    ]
    assert leaks == []


async def live_a_whole_life(stack) -> dict[str, str | bytes]:
    """Install, connect, refresh, fail, be revoked, come again, delete; answers every secret that was met."""
    app = await stack.app(token_lifetime=6)
    secrets: dict[str, str | bytes] = {"api key": stack.where.secret_key, "client secret": app.client_secret}
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    whom = {"tenant_id": "t", "user_id": "u"}
    token = await stack.api.post("/oauth/session-tokens", json={"provider": "jira", **whom})
    secrets["session token"] = token.json()["token"]
    secrets |= await consent_by_hand(stack, app, whom)
    first = (await app.read("t", "u")).json()
    secrets |= {"access token 1": first["credential"]} | await sealed_secrets(stack, first["connection_id"], "1")

    async def refreshed():
        return (await app.read("t", "u")).json()["generation"] > first["generation"]

    await stack.until(refreshed)
    second = (await app.read("t", "u")).json()
    secrets |= {"access token 2": second["credential"]} | await sealed_secrets(stack, first["connection_id"], "2")
    fault = {"endpoint": "token", "kind": "html", "times": 1, "grant_type": "refresh_token"}
    await stack.simulator.post("/_admin/faults", json=fault)
    (grant,) = await app.grants("member")
    await stack.simulator.post(f"/_admin/grants/{grant['id']}/revoke")

    async def noticed():
        return (await stack.api.get(f"/api/connections/{first['connection_id']}")).json()["status"] == "needs_reauth"

    await stack.until(noticed)
    await app.consent("/oauth/sessions", "member", ONE, **whom)
    secrets["access token 3"] = (await app.read("t", "u")).json()["credential"]
    await stack.api.delete(f"/api/connections/{first['connection_id']}")
    return secrets


async def have_events_sent(stack, receiver) -> dict[str, str]:
    """The secrets of a webhook URL of ours: the first one, and the one that took over."""
    first = await stack.api.post("/api/webhook-config", json={"webhook_url": receiver.url})
    second = await stack.api.post("/api/webhook-config/rotate")
    return {"webhook secret 1": first.json()["secret"][6:], "webhook secret 2": second.json()["secret"][6:]}


async def both_signed(receiver) -> bool:
    """Whether something came that both secrets have signed, and the end of the life among it."""
    signatures = [said.headers["webhook-signature"].split() for said in receiver.messages]
    bodies = b"".join(said.body for said in receiver.messages)
    return any(len(both) == 2 for both in signatures) and b"connection.needs_reauth" in bodies


async def be_told_by_the_provider(stack) -> dict[str, str | bytes]:
    """A grant of the plain provider is revoked there, and its signed webhook tells of it."""
    app = await stack.app("plain")
    key = base64.b64encode(b"inbound-canary-3b9e51d7a6c2").decode()
    answer = await stack.api.patch(f"/api/provider-configs/{app.config_id}", json={"signing_key": f"whsec_{key}"})
    assert answer.status_code == 200, answer.text
    url = f"{stack.where.api}/webhooks/plain?provider_config_id={app.config_id}"
    await stack.simulator.post("/_admin/webhooks", json={"url": url, "signing_key": f"whsec_{key}"})
    _, back = await app.consent("/oauth/installs", "admin", tenant_id="t")
    (grant,) = await app.grants("admin")
    await stack.simulator.post(f"/_admin/grants/{grant['id']}/revoke")

    async def noticed():
        found = await stack.api.get(f"/api/installations/{back.said['installation_id']}")
        return found.json()["status"] == "needs_reauth"

    await stack.until(noticed)
    await stack.simulator.delete("/_admin/webhooks")
    return {"inbound key": key, "inbound key, decoded": base64.b64decode(key)}


async def consent_by_hand(stack, app, whom) -> dict[str, str]:
    """One consent, noting what passes through the browser."""
    opened = await app.open("/oauth/sessions", **whom)
    visitor = Visitor()
    try:
        consent_url = await visitor.open(opened["authorization_url"])
        verifier = await sealed_verifier(stack, opened["session_id"])
        callback_url = await visitor.decide(consent_url, "member", ONE)
        cookies = [cookie.value or "" for cookie in visitor.client.cookies.jar if "authpipe" in cookie.name]
        await visitor.come_back(callback_url)
    finally:
        await visitor.close()
    query = parse_qs(urlsplit(callback_url).query)
    assert len(cookies) == 1
    return {"code": query["code"][0], "state": query["state"][0], "cookie": cookies[0], "verifier": verifier}


@asynccontextmanager
async def vault(stack) -> AsyncIterator[tuple[Database, Keys, bytes]]:
    """The stack's vault, opened with the folder's own key, which comes with it."""
    settings = load_settings(env="development", data_dir=stack.folder)
    ring = load_key_ring(settings)
    db = Database.open(settings.database_url)
    try:
        active = next(iter(ring))
        yield db, Keys(SqlKeyStore(db), KeyRing(ring, active=active), lambda: datetime.now(UTC)), ring[active]
    finally:
        await db.close()


async def sealed_secrets(stack, life_id: str, number: str) -> dict[str, str | bytes]:
    """What lies sealed in a life's row now, and the keys it is sealed with."""
    async with vault(stack) as (db, keys, kek):
        async with db.reading() as tx:
            life, credential = await get_life(tx, life_id), await current(tx, life_id)
        opened = await open_secrets(Sealer(keys), life, credential)
        data_key = await keys.data_key(life.workspace_id, life.tenant_id)
    return {f"refresh token {number}": opened.refresh, "data key": data_key.secret, "key-encryption key": kek}


async def sealed_verifier(stack, session_id: str) -> str:
    """The PKCE verifier of a visit that is under way."""
    async with vault(stack) as (db, keys, _):
        async with db.reading() as tx:
            session = await get_session(tx, session_id)
            visit = (await tx.exec(select(Visit).where(Visit.session_id == session_id))).one()
        return await Sealer(keys).open(visit_owner(session, visit.id), VERIFIER, 1, visit.sealed_verifier)


async def plant_a_control_canary(stack) -> None:
    client = await engine(stack)
    await client.start_workflow(
        "Nobody", id="control", task_queue="nobody", memo={"control": CONTROL}, static_summary="a control"
    )


async def engine(stack) -> Client:
    return await Client.connect(f"127.0.0.1:{engine_port(stack)}")


def engine_port(stack) -> str:
    command = Path(f"/proc/{stack.process('temporal').pid}/cmdline").read_text().replace("\0", " ")
    return re.search(r"--port (\d+)", command).group(1)


# What the owner of a development folder may read there on purpose: the keys, and the simulator's own memory.
MEANT_TO_HOLD_SECRETS = re.compile(r"(^|/)(keys/|dev-keys\.json|simulator\.json)")


def files(stack) -> dict[str, bytes]:
    """Every file of the folder: the engine's and the vault's with their -wal, and the log of all processes."""
    named = {str(path.relative_to(stack.folder)): path for path in stack.folder.rglob("*") if path.is_file()}
    searched = {name: path.read_bytes() for name, path in named.items() if not MEANT_TO_HOLD_SECRETS.search(name)}
    assert any(name.startswith("temporal") and name.endswith("-wal") for name in searched)
    assert any(name.startswith("authpipe.db") for name in searched)
    # The summary that `authpipe dev` prints shows the two keys on purpose; they are looked for in the rest of the log.
    log = searched["dev.log"].replace(stack.where.secret_key.encode(), b"(shown on purpose)", 2)
    return {**searched, "dev.log": log}


async def telemetry(stack) -> dict[str, bytes]:
    """Both scrapes, and every batch of spans as it was sent."""
    scrapes = {f"metrics of the {process}": (await stack.scrape(process)).encode() for process in stack.metrics}
    traces = {f"trace {number}": body for number, body in enumerate(list(stack.collector.bodies))}
    names = {span.name for span in list(stack.collector.spans)}
    assert {"GET /oauth/callback", "RunActivity:advance_attempt", "RunActivity:refresh"} <= names
    assert all(b"authpipe_" in text for text in scrapes.values())
    return scrapes | traces


async def histories(stack) -> dict[str, bytes]:
    """Every run's history, decoded, and what describe answers."""
    client = await engine(stack)
    told: dict[str, bytes] = {}
    async for run in client.list_workflows():
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        history = await handle.fetch_history()
        text = history.to_json()
        payloads = re.findall(r'"data": "([A-Za-z0-9+/=]*)"', text)
        decoded = b"\n".join(base64.b64decode(data) for data in payloads)
        told[f"history {run.id} {run.run_id}"] = text.encode() + decoded
        described = await handle.describe()
        told[f"describe {run.id} {run.run_id}"] = (
            str(described.raw_description).encode() + str(await described.memo()).encode()
        )
    assert any("connection/" in name for name in told)
    return told
