"""What is looked at in every walk, whatever it is about: errors, foreign requests, secrets."""

import asyncio
import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Error, Frame, Page, Request, Response

OPAQUE = re.compile(r"[A-Za-z0-9_.~-]{20,}")
KEPT = "[JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}), document.cookie]"
CALLBACK_PATH = "/oauth/callback"
REFUSED_PATH = "/oauth/refused/"
TOLD = {"document", "fetch", "xhr", "script"}


@dataclass
class Watch:
    """Collects, from every window of one browser context, what a person with the developer tools could see."""

    own: set[str]
    backends: set[str]
    expected: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    challenges: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def attach(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(f"page error: {error.error}"))
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        context.on("page", self._on_page)

    def expect(self, pattern: str, times: int = 1) -> None:
        """The console says this once more: what the test is about."""
        self.expected.extend([pattern] * times)

    def expect_refusal(self, status: int) -> None:
        """An answer with this status comes."""
        self.expect(f"the server responded with a status of {status} ")

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests of this kind so far."""
        return [one for one in self.requests if one.method == method and urlsplit(one.url).path == path]

    def _on_page(self, page: Page) -> None:
        page.on("framenavigated", self._on_navigated)
        page.on("domcontentloaded", lambda page: self._later(self._read_storage(page)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        where = message.location.get("url", "")
        self.complaints.append(f"console {message.type}: {message.text} ({where})")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        query = parse_qs(parts.query)
        self.challenges.update(query.get("code_challenge", ()))
        if parts.path == CALLBACK_PATH:
            self.codes.update(query.get("code", ()))

    def _on_navigated(self, frame: Frame) -> None:
        self.seen.append(("address", frame.url))

    def _on_response(self, response: Response) -> None:
        if response.request.resource_type in TOLD and origin_of(response.url) in self.own:
            self._later(self._read_body(response))

    def _later(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_body(self, response: Response) -> None:
        with suppress(Error):  # a redirect has none, and a window that has closed keeps none
            self.seen.append((f"body of {response.url}", await response.text()))

    async def _read_storage(self, page: Page) -> None:
        with suppress(Error):  # it has gone on already
            if origin_of(page.url) in self.own:
                self.seen.extend(("storage", text) for text in await page.evaluate(KEPT))

    async def settle(self, pages: Iterable[Page]) -> None:
        for page in pages:
            await self._read_storage(page)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self, fingerprints: set[str]) -> None:
        """No complaint that was not expected, no stranger asked, no secret shown."""
        left = list(self.complaints)
        for pattern in self.expected:
            found = next((one for one in left if re.search(pattern, one)), None)
            assert found, f"expected in the console, but not there: {pattern}; there was {left}"
            left.remove(found)
        assert not left, left
        assert {origin_of(one.url) for one in self.requests} - self.own <= {""}
        self._check_keys()
        self._check_secrets(fingerprints)

    def _check_keys(self) -> None:
        for request in self.requests:
            assert not re.search(r"ap_(sk|st)_", request.url), request.url
            assert "ap_sk_" not in json.dumps(request.headers)
            assert "ap_sk_" not in (request.post_data or "")
            assert "authorization" not in request.headers or urlsplit(request.url).path.startswith("/oauth/"), request
        for what, text in self.seen:
            assert "ap_sk_" not in text, what
            handed_over = any(what.startswith(f"body of {backend}") for backend in self.backends)
            assert "ap_st_" not in text or handed_over, what

    def _check_secrets(self, fingerprints: set[str]) -> None:
        refused = [one for one in self.requests if urlsplit(one.url).path.startswith(REFUSED_PATH)]
        assert fingerprints or len(self.codes) <= len(refused), "nothing to compare with"
        for what, text in self.seen:
            assert what != "address" or urlsplit(text).path != CALLBACK_PATH, f"the callback was not left: {text}"
            for word in OPAQUE.findall(text):
                assert word not in self.codes, f"the provider's code in: {what}"
                digest = hashlib.sha256(word.encode())
                assert digest.hexdigest() not in fingerprints, f"a code or token of the provider in: {what}"
                challenge = urlsafe_b64encode(digest.digest()).decode().rstrip("=")
                assert challenge not in self.challenges, f"a verifier in: {what}"


def origin_of(url: str) -> str:
    """Empty for what no server is asked for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https", "ws", "wss") else ""
