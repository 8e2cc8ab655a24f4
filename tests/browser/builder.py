"""A builder's product in small, on an origin of its own: pages with the elements, and a backend that holds the key."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import httpx

from runtime.demo_stack import DemoStack

Json = dict[str, Any]
Answer = Callable[[], Awaitable[tuple[str, str]]]

SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>A builder's product</title>
<link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark; background: Canvas; color: CanvasText }}</style>
<script src="{api}/sdk/authpipe.js" defer></script>
</head>
<body>
<main>
<h1>Settings</h1>
{elements}
</main>
<script>
var seen = [];
for (const type of ['install', 'connect', 'error']) document.addEventListener(type, (e) => seen.push([type, e.detail]));
for (const element of document.querySelectorAll('[data-token]')) {{
  element.getSessionToken = async () => (await fetch(element.dataset.token, {{ method: 'POST' }})).text();
}}
</script>
</body>
</html>
"""


@dataclass
class Site:
    """The builder's web server."""

    origin: str
    answers: dict[str, Answer] = field(default_factory=dict)

    def serve(self, path: str, kind: str, make: Callable[[], Awaitable[str]]) -> str:
        """Answer this path; its whole address."""

        async def answer() -> tuple[str, str]:
            return kind, await make()

        self.answers[path] = answer
        return self.origin + path


@asynccontextmanager
async def builders_site() -> AsyncIterator[Site]:
    site = Site("")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        while (await reader.readline()).strip():
            pass
        answer = site.answers.get(line.split(" ")[1].partition("?")[0]) if line else None
        kind, text = await answer() if answer else ("text/plain", "")
        body = text.encode()
        head = f"HTTP/1.1 {200 if answer else 404} -\r\ncontent-type: {kind}; charset=utf-8\r\nconnection: close\r\n"
        writer.write(f"{head}cache-control: no-store\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    site.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield site
    server.close()


@dataclass
class Product:
    """One OAuth app of a builder, with its provider config; tests share no grant and no tenant."""

    name: str
    where: DemoStack
    api: httpx.AsyncClient
    site: Site
    client_id: str
    config_id: str

    @property
    def pages(self) -> str:
        """The origin of the hosted pages and of the script."""
        return self.where.api.replace("127.0.0.1", "localhost")

    async def page(self, *elements: str) -> str:
        """A page with these elements; answers its address, which the config allows."""

        async def text() -> str:
            return SHELL.format(api=self.pages, elements="\n".join(elements))

        return self.site.serve(f"/{self.name}", "text/html", text)

    def button(self, what: str, **attributes: str) -> str:
        """`install` or `connect`, as an element for the tenant `acme`."""
        given = {"id": what, "provider": "jira", "tenant-id": "acme", "provider-config-id": self.config_id}
        if what == "connect":
            given["user-id"] = "ann"
        given |= {name.replace("_", "-"): value for name, value in attributes.items()}
        text = " ".join(f'{name}="{escape(value)}"' for name, value in given.items())
        return f"<authpipe-{what}-button {text}></authpipe-{what}-button>"

    def install(self, **attributes: str) -> str:
        return self.button("install", data_token=self._backend("installation"), **attributes)

    def connect(self, **attributes: str) -> str:
        return self.button("connect", data_token=self._backend("connection", user_id="ann"), **attributes)

    def _backend(self, kind: str, **whom: str) -> str:
        wanted = {"provider": "jira", "kind": kind, "tenant_id": "acme", "provider_config_id": self.config_id, **whom}

        async def mint() -> str:
            body = wanted | {"opener_origin": self.site.origin}
            answer = await self.api.post("/oauth/session-tokens", json=body)
            assert answer.status_code == 201, answer.text
            token: str = answer.json()["token"]
            return token

        return self.site.serve(f"/{self.name}/token/{kind}", "text/plain", mint)

    async def open(self, what: str = "installs", **more: Any) -> Json:
        """A session opened by the backend itself: its id and the link for a person."""
        whom = {"tenant_id": "acme"} | ({"user_id": "ann"} if what == "sessions" else {})
        body = {"provider": "jira", "provider_config_id": self.config_id, **whom, **more}
        answer = await self.api.post(f"/oauth/{what}", json=body)
        assert answer.status_code == 201, answer.text
        opened: Json = answer.json()
        return opened

    async def open_by_token(self, opener_origin: str) -> str:
        """An installation's link, opened as a page of that origin would; nobody is at that page."""
        wanted = {"provider": "jira", "kind": "installation", "tenant_id": "acme", "provider_config_id": self.config_id}
        minted = await self.api.post("/oauth/session-tokens", json=wanted | {"opener_origin": opener_origin})
        headers = {"authorization": f"Bearer {minted.json()['token']}", "origin": opener_origin}
        body = {name: value for name, value in wanted.items() if name != "kind"}
        answer = await self.api.post("/oauth/installs", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        link: str = answer.json()["authorization_url"]
        return link

    async def outcome(self, session_id: str) -> Json:
        answer = await self.api.get(f"/oauth/sessions/{session_id}")
        said: Json = answer.json()
        return said

    async def credential(self, user: str | None = None) -> httpx.Response:
        body = {"provider": "jira", "provider_config_id": self.config_id, "tenant_id": "acme"}
        return await self.api.post("/api/credentials", json=body | ({"user_id": user} if user else {}))


async def new_product(
    where: DemoStack, api: httpx.AsyncClient, simulator: httpx.AsyncClient, site: Site, **config: Any
) -> Product:
    """Register an app at the simulator and with us."""
    name = f"browser-{secrets.token_hex(4)}"
    secret = (await simulator.post("/_admin/apps", json={"client_id": name})).json()["client_secret"]
    callback = where.api.replace("127.0.0.1", "localhost") + "/oauth/callback"
    body = {
        "provider_id": "jira",
        "client_id": name,
        "client_secret": secret,
        "oauth_redirect_url": callback,
        "allowed_redirect_urls": [f"{site.origin}/{name}"],
        "display_name": "Planwise",
        "attachment": "user",
        "enabled": True,
        **config,
    }
    answer = await api.post("/api/provider-configs", json=body)
    assert answer.status_code == 201, answer.text
    return Product(name, where, api, site, name, answer.json()["id"])
