"""What a token endpoint may answer by fault or by malice, byte for byte over a real socket.

Whatever it is, it ends as a value with a code, nothing of it is told, and no refresh token is lost for it.
"""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest

from activities.deps import Deps
from activities.http import MAX_BODY, ProviderHttp
from activities.messages import Ending
from domain.life import AttemptState, Status

Reply: TypeAlias = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]

# What a provider's answer means does not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DECLARED = 3600
"""Seconds; what the provider's file declares for an answer that does not say."""


@dataclass
class RawProvider:
    """A token endpoint without a memory: it answers what the test put there, and remembers what it was sent."""

    server: asyncio.Server
    reply: Reply = b""
    asked: list[bytes] = field(default_factory=list)
    connections: int = 0

    @classmethod
    async def open(cls) -> "RawProvider":
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await opened.serve(reader, writer)

        opened = cls(await asyncio.start_server(serve, "127.0.0.1", 0))
        return opened

    def address(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/token"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.asked.append(await self._request(reader))
            await self._answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(1)
        if head == b"\x16":  # a TLS handshake
            return await reader.read(4096)
        head += await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        return await reader.readexactly(int(length[1])) if length else b""

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.reply, bytes):
            writer.write(self.reply)
            await writer.drain()
        else:
            await self.reply(writer)

    def answers(self, reply: Reply) -> None:
        """Answer so from now on, and forget what was asked before."""
        self.reply, self.connections = reply, 0
        self.asked.clear()

    def sent(self, name: str) -> list[str]:
        """The values of one form field, request by request."""
        return [parse_qs(body.decode("latin-1")).get(name, [""])[0] for body in self.asked]


@dataclass
class Raw:
    """The stage with raw sockets in place of the plain provider's token endpoint."""

    stage: Any
    provider: RawProvider
    elsewhere: RawProvider
    http: ProviderHttp

    def deps(self, within: float = 15, scheme: str = "http") -> Deps:
        token = replace(self.stage.deps.catalog["plain"].token, url=self.provider.address(scheme))
        known = self.stage.with_provider("plain", token=token, identity=None, revocation=None, replay_window=600)
        limits = replace(known.limits, http=timedelta(seconds=within))
        return replace(known, http=self.http, limits=limits)


@pytest.fixture
async def raw(stage: Any) -> AsyncIterator[Raw]:
    provider, elsewhere, http = await RawProvider.open(), await RawProvider.open(), ProviderHttp.open()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(provider.server)
        await stack.enter_async_context(elsewhere.server)
        stack.push_async_callback(http.close)
        yield Raw(stage, provider, elsewhere, http)


def answer(body: bytes, status: str = "200 OK", headers: Sequence[str] = (), kind: str = "application/json") -> bytes:
    own = [f"Content-Type: {kind}", "Connection: close"]
    if not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in headers):
        own.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"HTTP/1.1 {status}", *own, *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def tokens(which: str = "canary", **changes: Any) -> bytes:
    whole = {"access_token": f"{which}-access", "token_type": "Bearer", "refresh_token": f"{which}-refresh"}
    return json.dumps(whole | changes).encode()


def with_life(literal: str) -> bytes:
    return tokens()[:-1] + f', "expires_in": {literal}}}'.encode()


async def dripping(writer: asyncio.StreamWriter) -> None:
    body = tokens()
    writer.write(answer(body, headers=[f"Content-Length: {len(body) * 1000}"]))
    while True:
        await asyncio.sleep(0.02)
        writer.write(b" ")
        await writer.drain()


async def dripping_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Canary: ")
    while True:
        await asyncio.sleep(0.02)
        writer.write(b"canary")
        await writer.drain()


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"", headers=["Transfer-Encoding: chunked"]))
    while True:
        writer.write(b"8000\r\n" + b"canary--" * 4096 + b"\r\n")
        await writer.drain()


async def endless_continue(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


async def aborting(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(tokens())[:60])
    writer.transport.abort()


BOMB = gzip.compress(b" " * 64 * MAX_BODY, mtime=0)
MORE = b"canary" * (MAX_BODY // 4)
CUT = tokens()[:-30]
IN_DOUBT, NOT_HANDLED, NOT_SENT = None, "not_handled", "not_sent"


@dataclass(frozen=True)
class Bad:
    """An answer that yields nothing; `outcome` is the refresh ledger's."""

    reply: Reply
    code: str
    outcome: str | None = IN_DOUBT
    within: float = 15
    """Seconds for the whole call."""
    scheme: str = "http"


CONNECTION = {
    "closed at once": Bad(b"", "no_answer"),
    "reset within the head": Bad(aborting, "no_answer"),
    "TLS expected": Bad(answer(tokens()), "unreachable", NOT_SENT, scheme="https"),
    "no HTTP at all": Bad(b"SSH-2.0-canary\r\n\r\n", "no_answer"),
    "an answer of HTTP 0.9": Bad(tokens(), "no_answer"),
    "a status that is none": Bad(answer(tokens(), "2OO canary"), "no_answer"),
}

HEAD = {
    "a flood of headers": Bad(answer(tokens(), headers=["X-Canary: canary"] * 20_000), "no_answer"),
    "an oversized header line": Bad(answer(tokens(), headers=["X-Canary: " + "c" * 300_000]), "no_answer"),
    "a header that never ends": Bad(dripping_headers, "no_answer", within=0.3),
    "a header with a zero byte": Bad(answer(tokens(), headers=["X-Canary: \0"]), "no_answer"),
    "two lengths": Bad(answer(tokens(), headers=["Content-Length: 5", "Content-Length: 7"]), "no_answer"),
    "a negative length": Bad(answer(tokens(), headers=["Content-Length: -1"]), "no_answer"),
    "100 Continue for ever": Bad(endless_continue, "no_answer", within=0.3),
    "switching protocols": Bad(answer(tokens(), "101 Switching Protocols"), "no_answer"),
}

BODY = {
    "shorter than its length": Bad(answer(CUT, headers=[f"Content-Length: {len(tokens())}"]), "no_answer"),
    "a chunk cut off": Bad(answer(b"fff\r\n" + tokens(), headers=["Transfer-Encoding: chunked"]), "no_answer"),
    "a chunk of no length": Bad(answer(b"canary\r\n", headers=["Transfer-Encoding: chunked"]), "no_answer"),
    "JSON cut off": Bad(answer(CUT), "unreadable_answer"),
    "huge": Bad(answer(MORE), "answer_too_large"),
    "endless": Bad(endless, "answer_too_large"),
    "a compressed bomb": Bad(answer(BOMB, headers=["Content-Encoding: gzip"]), "answer_too_large"),
    "a bomb in a bomb": Bad(
        answer(gzip.compress(BOMB, mtime=0), headers=["Content-Encoding: gzip, gzip"]), "unreadable_answer"
    ),
    "compressed and cut off": Bad(
        answer(gzip.compress(tokens(), mtime=0)[:-20], headers=["Content-Encoding: gzip"]), "unreadable_answer"
    ),
    "an encoding nobody asked for": Bad(answer(tokens()[::-1], headers=["Content-Encoding: br"]), "unreadable_answer"),
    "dripping": Bad(dripping, "no_answer", within=0.3),
    "empty": Bad(answer(b""), "unreadable_answer"),
    "no content": Bad(answer(b"", "204 No Content"), "unreadable_answer"),
    "HTML": Bad(answer(b"<html>canary</html>", kind="text/html"), "unreadable_answer"),
    "not UTF-8": Bad(answer(tokens()[:-1] + b', "name": "caf\xe9"}'), "unreadable_answer"),
    "UTF-16": Bad(answer(tokens().decode().encode("utf-16")), "unreadable_answer"),
    "deeply nested": Bad(answer(b"[" * 500_000), "unreadable_answer"),
    "deeply nested beside the tokens": Bad(
        answer(tokens()[:-1] + b', "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "unreadable_answer"
    ),
    "a list": Bad(answer(b"[" + tokens() + b"]"), "unreadable_answer"),
    "two documents": Bad(answer(tokens() + tokens()), "unreadable_answer"),
    "a token twice": Bad(answer(tokens()[:-1] + b', "access_token": "canary-2"}'), "unreadable_answer"),
    "an access token that is a number": Bad(answer(tokens(access_token=7)), "unreadable_answer"),
    "an access token with a line break": Bad(answer(tokens(access_token="canary\r\nX: y")), "unreadable_answer"),
    "a refresh token that is an object": Bad(answer(tokens(refresh_token={"canary": 1})), "unreadable_answer"),
    "a token of another type": Bad(answer(tokens(token_type="canary_mac")), "token_type_unknown"),
    "a token whose type is a number": Bad(answer(tokens(token_type=1)), "token_type_unknown"),
}

MEANING = {
    "an unknown error inside success": Bad(answer(b'{"ok": false, "error": "canary"}'), "unknown_error"),
    "an error in words inside success": Bad(answer(b'{"error": "The canary died."}'), "unreadable_answer"),
    "an error 5xx with tokens": Bad(answer(tokens(), "502 Bad Gateway"), "server_error"),
    "a refusal without a word": Bad(answer(b"", "400 Bad Request"), "unreadable_answer", NOT_HANDLED),
    "forbidden without a word": Bad(answer(b"", "403 Forbidden"), "unreadable_answer", NOT_HANDLED),
    "a refusal cut off": Bad(answer(b'{"error": "invalid_', "400 Bad Request", ["Content-Length: 30"]), "no_answer"),
    "refused twice over": Bad(
        answer(b'{"error": "canary", "error": "invalid_grant"}', "400 Bad Request"), "unreadable_answer", NOT_HANDLED
    ),
    "a redirect to nowhere": Bad(answer(b"", "302 Found"), "unreadable_answer", NOT_HANDLED),
    "a redirect to another scheme": Bad(
        answer(b"", "302 Found", ["Location: ftp://canary.example/"]), "unreadable_answer", NOT_HANDLED
    ),
    "a redirect that cannot be read": Bad(
        answer(b"", "302 Found", ["Location: http://canary:port/"]), "unreadable_answer", NOT_HANDLED
    ),
    "a redirect without an end": Bad(
        answer(b"", "302 Found", ["Location: /" + "c" * 70_000]), "unreadable_answer", NOT_HANDLED
    ),
}

GROUPS = pytest.mark.parametrize(
    "group", [CONNECTION, HEAD, BODY, MEANING], ids=["connection", "head", "body", "meaning"]
)

ODD = {
    "another content type": (answer(tokens(), kind="text/html; charset=canary"), DECLARED),
    "no length": (answer(tokens()).replace(b"Content-Length", b"X-Length"), DECLARED),
    "a byte order mark": (answer(b"\xef\xbb\xbf" + tokens()), DECLARED),
    "status 201": (answer(tokens(), "201 Created"), DECLARED),
    "early answers before it": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(tokens()),
        DECLARED,
    ),
    "compressed unasked": (answer(gzip.compress(tokens(), mtime=0), headers=["Content-Encoding: gzip"]), DECLARED),
    "deflated unasked": (answer(zlib.compress(tokens()), headers=["Content-Encoding: deflate"]), DECLARED),
    "said to be compressed": (answer(tokens(), headers=["Content-Encoding: gzip"]), DECLARED),
    "odd cookies": (
        answer(tokens(), headers=["Set-Cookie: canary=1; Max-Age=99999999999999999999; Expires=x", "Set-Cookie: ;=;"]),
        DECLARED,
    ),
    "an error beside the tokens": (answer(tokens(error="invalid_grant", ok=False)), DECLARED),
    "a scope that is a number": (answer(tokens(scope=7)), DECLARED),
    "a life that is text": (answer(with_life('"120"')), 120),
    "a life that is a fraction": (answer(with_life("120.9")), 120),
    "no life": (answer(tokens()), DECLARED),
    **{
        f"a life of {literal[:12]}": (answer(with_life(literal)), DECLARED)
        for literal in ("-5", "0", '"-5"', "true", "null", '"soon"', "NaN", "1e999", "1" * 15, "9" * 9000, "[60]", "{}")
    },
}


@GROUPS
async def test_a_bad_answer_to_a_refresh_costs_no_refresh_token(
    raw: Raw, group: dict[str, Bad], told: Callable[[], str], subtests: pytest.Subtests
) -> None:
    life = await raw.stage.connected(provider="plain")
    for name, bad in group.items():
        with subtests.test(name):
            await refreshed_after(raw, life, bad, told)


async def refreshed_after(raw: Raw, life: Any, bad: Bad, told: Callable[[], str]) -> None:
    stage, old = raw.stage, await raw.stage.secrets(life)
    raw.provider.answers(bad.reply)
    result = await stage.refresh(life, raw.deps(bad.within, bad.scheme))

    assert (result.ending, result.code) == (Ending.STUMBLED, bad.code)
    assert (await stage.outcomes(life))[-1] == bad.outcome
    assert await stage.secrets(life) == old
    row = await stage.row(life)
    assert (row.status, row.health, row.last_error) == (Status.ACTIVE, "degraded", bad.code)
    assert "canary" not in told() + repr(result) + repr(row) + repr(await stage.ledger(life))
    assert raw.provider.connections == 1
    assert raw.provider.sent("refresh_token") == ([old.refresh] if bad.scheme == "http" else [""])

    better = f"good-{len(await stage.ledger(life))}"
    raw.provider.answers(answer(tokens(better)))
    assert (await stage.refresh(life, raw.deps())).ending is Ending.CREDENTIALED
    assert raw.provider.sent("refresh_token") == [old.refresh]
    assert (await stage.secrets(life)).refresh == f"{better}-refresh"
    assert None not in await stage.outcomes(life)


@GROUPS
async def test_a_bad_answer_to_an_exchange_ends_the_attempt_and_the_code_is_sent_once(
    raw: Raw, group: dict[str, Bad], told: Callable[[], str], subtests: pytest.Subtests
) -> None:
    stage, life = raw.stage, await raw.stage.life(provider="plain")
    for name, bad in group.items():
        with subtests.test(name):
            await ended_by(raw, life, bad, told)
    session = await stage.come_back(life)
    raw.provider.answers(answer(tokens("good")))
    assert (await stage.advance(life, session, raw.deps())).state is AttemptState.COMPLETED
    assert (await stage.secrets(life)).access == "good-access"


async def ended_by(raw: Raw, life: Any, bad: Bad, told: Callable[[], str]) -> None:
    stage, session = raw.stage, await raw.stage.come_back(life)
    raw.provider.answers(bad.reply)
    deps = raw.deps(bad.within, bad.scheme)
    result = await stage.advance(life, session, deps)
    attempts = [row for row in await stage.ledger(life, "exchange") if row.session_id == session.id]
    assert "canary" not in told() + repr(result) + repr(attempts)
    assert await stage.candidates(session) == []

    if bad.outcome == NOT_SENT:
        assert (result.ending, result.code, attempts) == (Ending.STUMBLED, bad.code, [])
        return
    assert (result.state, result.code) == (AttemptState.FAILED, "exchange_unknown")
    assert [attempt.outcome for attempt in attempts] == ["unknown"]
    await stage.advance(life, session, deps)
    assert len(raw.provider.asked) == 1


async def test_an_odd_answer_to_a_refresh_is_taken_for_the_tokens_in_it(
    raw: Raw, told: Callable[[], str], subtests: pytest.Subtests
) -> None:
    stage, life = raw.stage, await raw.stage.connected(provider="plain")
    for name, (reply, seconds) in ODD.items():
        with subtests.test(name):
            raw.provider.answers(answer(tokens("good")))
            await stage.refresh(life, raw.deps())
            raw.provider.answers(reply)
            result = await stage.refresh(life, raw.deps())
            assert result.ending is Ending.CREDENTIALED
            await taken(raw, life, seconds)
            assert (await stage.outcomes(life))[-1] == "succeeded"
            assert "canary" not in told() + repr(result)


async def test_an_odd_answer_to_an_exchange_is_taken_for_the_tokens_in_it(
    raw: Raw, told: Callable[[], str], subtests: pytest.Subtests
) -> None:
    stage, life = raw.stage, await raw.stage.life(provider="plain")
    for name, (reply, seconds) in ODD.items():
        with subtests.test(name):
            session = await stage.come_back(life)
            raw.provider.answers(reply)
            result = await stage.advance(life, session, raw.deps())
            assert result.state is AttemptState.COMPLETED
            await taken(raw, life, seconds)
            assert "canary" not in told() + repr(result)


async def taken(raw: Raw, life: Any, seconds: int) -> None:
    """The tokens of an odd answer are the life's now, for so long."""
    secrets, row = await raw.stage.secrets(life), await raw.stage.row(life)
    assert (secrets.access, secrets.refresh) == ("canary-access", "canary-refresh")
    assert row.expires_at == raw.stage.clock.now + timedelta(seconds=seconds)
    raw.stage.clock.advance(seconds=1)


async def test_a_secret_does_not_follow_a_redirect(raw: Raw, subtests: pytest.Subtests) -> None:
    stage, life = raw.stage, await raw.stage.connected(provider="plain")
    raw.elsewhere.answers(answer(tokens()))
    for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
        with subtests.test(status):
            raw.provider.answers(answer(b"", status, [f"Location: {raw.elsewhere.address()}"]))
            result = await stage.refresh(life, raw.deps())
            assert (result.ending, result.code) == (Ending.STUMBLED, "unreadable_answer")
            session = await stage.come_back(life)
            assert (await stage.advance(life, session, raw.deps())).code == "exchange_unknown"
            assert (len(raw.provider.asked), raw.elsewhere.connections) == (2, 0)


async def test_a_grant_that_is_refused_inside_success_is_dead(raw: Raw) -> None:
    stage, life = raw.stage, await raw.stage.connected(provider="plain")
    raw.provider.reply = answer(b'{"error": "invalid_grant"}')
    assert (await stage.refresh(life, raw.deps())).code == "grant_revoked"
    assert (await stage.row(life)).status == Status.NEEDS_REAUTH
    assert await stage.outcomes(life) == ["refused"]


WAITS = [
    ("120", 120),
    ("99999999999999999999", 3600),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ("Mon, 01 Jan 2024 00:00:00 GMT", None),
    ("0", None),
    ("-5", None),
    ("canary", None),
    ("\u00b2", None),
]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_senseless_retry_after_is_as_none(raw: Raw, status: str, subtests: pytest.Subtests) -> None:
    stage, life = raw.stage, await raw.stage.connected(provider="plain")
    for value, seconds in WAITS:
        with subtests.test(value):
            head = [f"Retry-After: {value}", "Date: Sun, 01 Mar 2026 12:00:00 GMT"]
            raw.provider.answers(answer(b"", status, head))
            result = await stage.refresh(life, raw.deps())
            assert result.ending is Ending.STUMBLED
            assert result.not_before == (None if seconds is None else stage.clock.now + timedelta(seconds=seconds))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Whatever was logged or printed so far, at every level of ours and of the client's."""
    caplog.set_level("INFO")

    def whole() -> str:
        printed = capsys.readouterr()
        return caplog.text + printed.out + printed.err

    return whole
