"""A webhook is the provider's only if its key signed this very body, and of now only if it says so itself."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Signer

from domain.oauth.document import DocumentError
from providers import inbound
from providers.inbound import NotOfNow, Received, Said, may_be_signed, message_id, read, signers
from providers.loading import load_provider
from providers.model import SignatureScheme, Webhook

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = "a-signing-key"

# Linear's own scheme, as developers.linear.app/docs/graphql/webhooks describes it.
LINEAR = """
[webhook]
scheme = "hmac-sha256-hex"
header = "Linear-Signature"
timestamp = "/webhookTimestamp"
timestamp_unit = "ms"
tolerance = 60
event = ["/type", "/action"]
withdrawn = ["OAuthApp.revoked"]
site_id = "/organizationId"
"""


@pytest.fixture
def linear(provider_file: Any) -> Webhook:
    webhook = load_provider(provider_file(LINEAR)).webhook
    assert webhook is not None
    return webhook


def of_linear(at: datetime = NOW, **changes: Any) -> bytes:
    body = {
        "action": "revoked",
        "type": "OAuthApp",
        "createdAt": "2026-03-01T12:00:00.000Z",
        "organizationId": "org-1",
        "oauthClientId": "client-1",
        "webhookTimestamp": int(at.timestamp() * 1000),
        "webhookId": "hook-1",
    }
    return json.dumps(body | changes).encode()


def hmac_hex(body: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def from_linear(body: bytes, signature: str | None = None) -> Received:
    return Received({"linear-signature": hmac_hex(body) if signature is None else signature}, body)


def test_linears_revocation_is_understood(linear: Webhook) -> None:
    received = from_linear(of_linear())
    assert signers(linear, received, {"cfg_1": KEY}) == ["cfg_1"]
    assert read(linear, received, NOW) == Said("OAuthApp.revoked", withdrawn=True, site_id="org-1")


def test_what_linear_says_of_other_things_means_nothing_here(linear: Webhook) -> None:
    for changes in ({"action": "create", "type": "Issue"}, {"type": "Issue"}, {"action": None}, {"action": {"a": 1}}):
        said = read(linear, from_linear(of_linear(**changes)), NOW)
        assert (said.withdrawn, said.site_id) == (False, None)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "x",
        "00",
        hmac_hex(b"another body"),
        hmac_hex(of_linear(), "another key"),
        hmac_hex(of_linear())[:-2],
        "é" * 64,
    ],
)
def test_no_other_signature_is_good(linear: Webhook, signature: str) -> None:
    assert signers(linear, from_linear(of_linear(), signature), {"cfg_1": KEY}) == []


@pytest.mark.parametrize(
    ("signature", "formed"),
    [
        ("", False),
        ("x", False),
        ("00", False),
        ("0" * 62, False),
        ("0" * 66, False),
        ("é" * 64, False),
        ("0" * 64, True),
    ],
)
def test_without_a_key_it_shows_whether_a_message_can_be_signed_at_all(
    linear: Webhook, signature: str, formed: bool
) -> None:
    assert may_be_signed(linear, from_linear(of_linear(), signature)) is formed


def test_a_message_without_a_header_that_is_signed_cannot_be(linear: Webhook) -> None:
    standard = replace(linear, scheme=SignatureScheme.STANDARD, header="webhook-signature", prefix="")
    good = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1," + "A" * 43 + "="}
    assert may_be_signed(standard, Received(good, b""))
    for name in good:
        assert not may_be_signed(standard, Received(good | {name: ""}, b""))
        assert not may_be_signed(standard, Received({other: good[other] for other in good if other != name}, b""))


def test_without_a_signature_nobody_signed(linear: Webhook) -> None:
    assert signers(linear, Received({}, of_linear()), {"cfg_1": KEY}) == []


def test_every_key_that_signed_is_found_and_every_key_is_compared(
    linear: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def spy(expected: bytes, given: bytes) -> bool:
        compared.append(expected)
        return hmac.compare_digest(expected, given)

    monkeypatch.setattr(inbound, "compare_digest", spy)
    keys = {"a": KEY, "b": "another", "c": KEY, "d": "a third"}
    assert signers(linear, from_linear(of_linear()), keys) == ["a", "c"]
    assert len(compared) == 4


@pytest.mark.parametrize("seconds", [-61, 61, -86_400, 86_400])
def test_a_message_of_another_time_is_refused(linear: Webhook, seconds: int) -> None:
    body = of_linear(NOW + timedelta(seconds=seconds))
    with pytest.raises(NotOfNow):
        read(linear, from_linear(body), NOW)


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_clocks_may_differ_by_the_tolerance(linear: Webhook, seconds: int) -> None:
    assert read(linear, from_linear(of_linear(NOW + timedelta(seconds=seconds))), NOW).withdrawn


@pytest.mark.parametrize(
    "value", [None, "", "soon", True, [], {}, -1, 0, 1e400, float("nan"), 10**400, "9" * 300, "1.5", "٣"]
)
def test_a_time_that_is_none_is_refused(linear: Webhook, value: Any) -> None:
    with pytest.raises(NotOfNow):
        read(linear, from_linear(of_linear(webhookTimestamp=value)), NOW)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_what_is_not_json_is_said_to_be_none(linear: Webhook, body: bytes) -> None:
    assert signers(linear, from_linear(body), {"cfg_1": KEY}) == ["cfg_1"]
    with pytest.raises(DocumentError):
        read(linear, from_linear(body), NOW)


@pytest.mark.parametrize("site", ["a\0b", "", None, {"id": "x"}, ["x"], "x" * 256, True, "\ud800"])
def test_an_id_that_is_none_names_nobody(linear: Webhook, site: Any) -> None:
    said = read(linear, from_linear(of_linear(organizationId=site)), NOW)
    assert (said.withdrawn, said.site_id) == (True, None)


def test_a_message_is_known_again_by_what_is_signed_of_it(linear: Webhook) -> None:
    first, again, other = of_linear(), of_linear(), of_linear(oauthClientId="client-2")
    upper = from_linear(again, hmac_hex(again).upper())
    assert message_id(linear, from_linear(first)) == message_id(linear, upper) != message_id(linear, from_linear(other))


def test_a_message_is_known_again_by_its_own_id_where_the_body_has_one(linear: Webhook) -> None:
    own = replace(linear, message_id="/webhookId")
    first, again = of_linear(), of_linear(createdAt="later")
    assert message_id(own, from_linear(first)) == message_id(own, from_linear(again))
    assert message_id(own, from_linear(of_linear(webhookId="a\0b"))) != message_id(own, from_linear(first))


# --- standard webhooks ------------------------------------------------------------------------------------------------

STANDARD = Webhook(SignatureScheme.STANDARD, ("/type",), ("grant.revoked",), account_id="/data/sub")
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
EVENT = json.dumps({"type": "grant.revoked", "data": {"sub": "account-1"}})


def standard(
    event: str = EVENT, at: datetime = NOW, id_: str = "msg_1", stem: str = "webhook", **changes: str
) -> Received:
    headers = {
        f"{stem}-id": id_,
        f"{stem}-timestamp": str(int(at.timestamp())),
        f"{stem}-signature": Signer(SECRET).sign(id_, at, event),
    }
    return Received(headers | {name.replace("_", "-"): value for name, value in changes.items()}, event.encode())


def test_a_standard_webhook_of_the_library_is_good() -> None:
    received = standard()
    assert signers(STANDARD, received, {"cfg_1": SECRET, "cfg_2": "whsec_AAAA", "cfg_3": "no base64!"}) == ["cfg_1"]
    assert read(STANDARD, received, NOW) == Said("grant.revoked", withdrawn=True, account_id="account-1")


def test_its_headers_may_have_another_stem() -> None:
    svix = replace(STANDARD, header="Svix-Signature")
    assert signers(svix, standard(stem="svix"), {"cfg_1": SECRET}) == ["cfg_1"]
    assert read(svix, standard(stem="svix"), NOW).withdrawn


def test_during_a_rotation_one_good_signature_among_several_is_enough() -> None:
    own = standard().headers["webhook-signature"]
    several = standard(webhook_signature=f"v1,AAAA v1a,xyz {own} v1,%%")
    assert signers(STANDARD, several, {"cfg_1": SECRET}) == ["cfg_1"]
    too_many = standard(webhook_signature=" ".join(["v1,AAAA"] * inbound.MOST_SIGNATURES + [own]))
    assert signers(STANDARD, too_many, {"cfg_1": SECRET}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook_id": "msg_2"},
        {"webhook_id": ""},
        {"webhook_timestamp": "1"},
        {"webhook_timestamp": ""},
        {"webhook_signature": ""},
        {"webhook_signature": "v1"},
        {"webhook_signature": "v1,"},
    ],
)
def test_none_of_its_headers_can_be_changed(changes: dict[str, str]) -> None:
    assert signers(STANDARD, standard(**changes), {"cfg_1": SECRET}) == []


def test_a_message_without_its_id_is_signed_by_nobody() -> None:
    assert signers(STANDARD, standard(id_=""), {"cfg_1": SECRET}) == []


def test_an_empty_key_signs_nothing() -> None:
    forged = standard(webhook_signature="v1," + base64.b64encode(
        hmac.new(b"", f"msg_1.{int(NOW.timestamp())}.{EVENT}".encode(), hashlib.sha256).digest()
    ).decode())  # fmt: skip
    assert signers(STANDARD, forged, {"cfg_1": "", "cfg_2": "whsec_", "cfg_3": "%"}) == []


def test_an_old_standard_webhook_is_refused() -> None:
    with pytest.raises(NotOfNow):
        read(STANDARD, standard(at=NOW - timedelta(seconds=301)), NOW)


# --- a signed header, and what a file may not say ---------------------------------------------------------------------

SLACKS = """
[webhook]
scheme = "hmac-sha256-hex"
header = "X-Sig"
prefix = "v0="
signed = "v0:{timestamp}:{body}"
timestamp = "X-Time"
event = "/type"
withdrawn = ["tokens_revoked"]
account_id = "/user"
"""


def test_a_time_in_a_header_is_part_of_what_is_signed(provider_file: Any) -> None:
    webhook = load_provider(provider_file(SLACKS)).webhook
    assert webhook is not None
    body, at = b'{"type": "tokens_revoked", "user": "U1"}', str(int(NOW.timestamp()))
    good = "v0=" + hmac_hex(f"v0:{at}:".encode() + body)
    received = Received({"x-sig": good, "x-time": at}, body)
    assert signers(webhook, received, {"cfg_1": KEY}) == ["cfg_1"]
    assert read(webhook, received, NOW).account_id == "U1"
    for headers in ({"x-sig": good[3:], "x-time": at}, {"x-sig": good, "x-time": at + "0"}, {"x-sig": good}):
        assert signers(webhook, Received(headers, body), {"cfg_1": KEY}) == []


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('timestamp = "X-Time"', "webhook.timestamp"),
        ('message_id = "X-Id"', "webhook.message_id"),
        ('signed = "{timestamp}"', "webhook.signed"),
        ('signed = "{body}{url}"', "webhook.signed"),
        ('signed = "{id}{body}"', "webhook.signed"),
        ('scheme = "standard-webhooks"\nsigned = "{body}!"', "webhook.signed"),
        ('scheme = "standard-webhooks"\nmessage_id = "/id"', "webhook.message_id"),
        ('scheme = "standard-webhooks"\nprefix = "v1,"', "webhook.prefix"),
        ('scheme = "md5"', "webhook.scheme"),
        ('header = "X Sig"', "webhook.header"),
        ('timestamp = "a b"', "webhook.timestamp"),
        ("tolerance = 3601", "webhook.tolerance"),
        ("tolerance = 0", "webhook.tolerance"),
        ("withdrawn = []", "webhook.withdrawn"),
        ("event = []", "webhook.event"),
        ('event = ""', "webhook.event"),
        ('account_id = ""', "webhook"),
        ("secret = 1", "webhook.secret"),
    ],
)
def test_a_table_that_protects_from_nothing_is_refused(provider_file: Any, line: str, key: str) -> None:
    usual = {
        "scheme": '"hmac-sha256-hex"',
        "event": '"/type"',
        "withdrawn": '["revoked"]',
        "account_id": '"/user"',
    }
    given = dict(part.split(" = ", 1) for part in line.splitlines())
    text = "".join(f"{name} = {value}\n" for name, value in (usual | given).items())
    path: Path = provider_file(f"[webhook]\n{text}")
    with pytest.raises(ValueError, match=rf"acme\.toml: {key.replace('.', chr(92) + '.')}(\[0\])?: "):
        load_provider(path)
