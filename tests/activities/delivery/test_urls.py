"""Where a URL may lead: never into our own network, and only to an address that was checked."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activities import outgoing as outgoing_module
from activities.outgoing import Outgoing, Unanswered, UrlRefused
from domain.addresses import LOOPBACK
from tests.activities.delivery.builder import Builder, Receiver

PRIVATE = [
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST:8080/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://10.0.0.1/",
    "https://192.168.0.1/",
    "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://100.64.0.1/",
    "https://①②⑦.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1%2f@example.com/",
    "http://8.8.8.8/",
]


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_url_into_our_own_network_is_refused_in_every_spelling(url: str) -> None:
    outgoing = Outgoing()
    with pytest.raises(UrlRefused):
        await outgoing.check(url)
    with pytest.raises(Unanswered):
        await outgoing.post(url, {}, b"")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://ann:secret@example.com/", "must not hold a user"),
        ("https://ann@example.com/", "must not hold a user"),
        ("https://@example.com/", None),
        ("https://example.com/#part", "must not hold a fragment"),
        ("https://example.com/" + "a" * 2048, "longer than 2048"),
        ("ftp://example.com/", "begin with https://"),
        ("file:///etc/passwd", "begin with https://"),
        ("gopher://example.com/", "begin with https://"),
        ("//example.com/", "begin with https://"),
        ("example.com", "begin with https://"),
        ("", "begin with https://"),
        ("https://", "begin with https://"),
        ("https:///path", "begin with https://"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "port"),
        ("https://exa\nmple.com/", "no URL"),
        ("https://example.com/\r\nx-header: 1", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://" + "a" * 70 + ".example.com/", None),
    ],
)
async def test_a_url_of_a_wrong_form_is_refused_without_being_repeated(url: str, said: str | None) -> None:
    async def public(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8"]

    if said is None:
        await Outgoing(lookup=public).check(url)
        return
    with pytest.raises(UrlRefused, match=said) as caught:
        await Outgoing(lookup=public).check(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"], ["fe80::1%eth0"], []], ids=str
)
async def test_every_address_of_a_name_has_to_be_public(addresses: list[str]) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return addresses

    with pytest.raises(UrlRefused):
        await Outgoing(lookup=lookup).check("https://builder.example.com/")


async def test_a_name_that_changes_its_meaning_after_it_was_set_is_not_followed(
    builder: Builder, receiver: Receiver
) -> None:
    """First public, as when the URL is set; then our own network, as when something is sent."""
    meant = iter([["8.8.8.8"], ["127.0.0.1"]])

    async def lookup(_host: str, _port: int) -> list[str]:
        return next(meant)

    rebinding = Outgoing(lookup=lookup)
    url = f"https://builder.example.com:{receiver.port}/"
    await rebinding.check(url)
    await builder.listen(url)
    await builder.happen(await builder.life(), "created")
    report = await builder.deliver(replace(builder.deps, outgoing=rebinding))
    assert (report.failed, report.last_error) == (1, "address_refused")
    assert receiver.most_at_once == 0


async def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The name is looked up once for a request; a second answer has nobody to hear it."""
    asked: list[str] = []

    async def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    outgoing = Outgoing(LOOPBACK, lookup)
    url = f"http://no-such-name.invalid:{receiver.port}/"
    assert await outgoing.post(url, {"x": "y"}, b"{}") == 204
    assert (asked, receiver.calls[0].headers["host"]) == (
        ["no-such-name.invalid"],
        f"no-such-name.invalid:{receiver.port}",
    )


async def test_a_name_with_several_addresses_is_tried_at_each(receiver: Receiver) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    assert await Outgoing(LOOPBACK, lookup).post(f"http://two.invalid:{receiver.port}/", {}, b"{}") == 204


async def test_a_private_network_is_reached_only_where_it_is_allowed(receiver: Receiver) -> None:
    await Outgoing(LOOPBACK).check(receiver.url)
    with pytest.raises(UrlRefused, match="not public"):
        await Outgoing().check(receiver.url)
    with pytest.raises(UrlRefused, match="https"):
        await Outgoing(LOOPBACK).check("http://8.8.8.8/")


async def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await Outgoing(LOOPBACK).post(receiver.url, {}, b"{}") == 204


async def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(outgoing_module, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(outgoing_module, "WITHIN_SECONDS", 0.05)
    with pytest.raises(UrlRefused, match="cannot be found"):
        await Outgoing(lookup=lookup).check("https://builder.example.com/")
    with pytest.raises(Unanswered, match="no_answer_in_time"):
        await Outgoing(lookup=lookup).post("https://builder.example.com/", {}, b"")


@asynccontextmanager
async def serving_tls(name: str, folder: Path) -> AsyncIterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver with a certificate for `name`, and a client's context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "pem").write_bytes(private + certificate)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "pem")
    receiver = Receiver()
    await receiver.up(theirs)
    yield receiver, ssl.create_default_context(cadata=certificate.decode())
    await receiver.down()


async def test_a_certificate_must_show_the_name_of_the_url(tmp_path: Path) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with serving_tls("builder.example.com", tmp_path) as (receiver, trusted):
        outgoing = Outgoing(LOOPBACK, lookup, trusted)
        assert await outgoing.post(f"https://builder.example.com:{receiver.port}/", {}, b"{}") == 204
        with pytest.raises(Unanswered, match="unreachable"):
            await outgoing.post(f"https://other.example.com:{receiver.port}/", {}, b"{}")
        with pytest.raises(Unanswered, match="unreachable"):
            await Outgoing(LOOPBACK, lookup).post(f"https://builder.example.com:{receiver.port}/", {}, b"{}")
    assert len(receiver.calls) == 1
