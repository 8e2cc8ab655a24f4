"""A provider's webhook: whether it is the provider's, whether it is of now, and what it says. A hint, never a proof."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest, digest

from domain.oauth.document import Json, identifier, read_json, resolve
from providers.model import SignatureScheme, TimestampUnit, Webhook

MOST_SIGNATURES = 10
"""Of one header: during a rotation several keys sign."""
# Before or after it no clock of ours or of a provider is right.
_LATEST = 1e15
_PARTS = re.compile(r"(\{[a-z]+\})")


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came: the raw body, and headers by their names in small letters."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """What a message claims. Whose access it was is None where it does not say."""

    event: str
    withdrawn: bool
    account_id: str | None = None
    site_id: str | None = None


class NotOfNow(Exception):
    """The message is older or newer than its provider's tolerance, or does not say when it was sent."""


def may_be_signed(webhook: Webhook, received: Received) -> bool:
    """Whether it has all headers of a signed message, and a signature of the right form; no key is needed to see it."""
    rules = _rules(webhook)
    return next(_signatures(rules, received), None) is not None and _named(rules, received) is not None


def signers(webhook: Webhook, received: Received, keys: Mapping[str, str]) -> list[str]:
    """The names in `keys` whose key signed the message. Every key is tried, and none for longer than another."""
    rules = _rules(webhook)
    signatures, text = list(_signatures(rules, received)), _signed(rules, received)
    if not signatures or text is None:
        return []
    return [name for name, key in keys.items() if _is_of(_key(rules, key), text, signatures)]


def is_key(webhook: Webhook, key: str) -> bool:
    """Whether a message could be signed by it: it has the form that the scheme wants."""
    return bool(_key(webhook, key))


def message_id(webhook: Webhook, received: Received) -> str:
    """By what the same message is known again, as 64 hex digits: its own id, or all that is signed of it."""
    rules = _rules(webhook)
    if rules.message_id.startswith("/"):
        own = identifier(resolve(read_json(received.body), rules.message_id)) or ""
    else:
        own = _header(received, rules.message_id)
    return sha256(own.encode() if own else _signed(rules, received) or b"").hexdigest()


def read(webhook: Webhook, received: Received, now: datetime) -> Said:
    """What a message says whose signature is good. Raises `NotOfNow`, and DocumentError where it is not JSON."""
    rules, document = _rules(webhook), read_json(received.body)
    if rules.timestamp:
        _check_time(rules, received, document, now)
    event = ".".join(identifier(resolve(document, pointer)) or "" for pointer in rules.event)
    if event not in rules.withdrawn:
        return Said(event, withdrawn=False)
    account, site = (identifier(resolve(document, at)) if at else None for at in (rules.account_id, rules.site_id))
    return Said(event, withdrawn=True, account_id=account, site_id=site)


def _rules(webhook: Webhook) -> Webhook:
    """With what a scheme fixes filled in."""
    if webhook.scheme is not SignatureScheme.STANDARD:
        return webhook
    stem = webhook.header.lower().removesuffix("signature")
    signed, unit = "{id}.{timestamp}.{body}", TimestampUnit.SECONDS
    at, id_ = f"{stem}timestamp", f"{stem}id"
    return replace(webhook, timestamp=at, message_id=id_, signed=signed, timestamp_unit=unit)


def _header(received: Received, name: str) -> str:
    return received.headers.get(name.lower(), "")


def _signed(rules: Webhook, received: Received) -> bytes | None:
    """The text that is signed; None if a header that belongs to it is missing."""
    named = _named(rules, received)
    if named is None:
        return None
    parts = {"{body}": received.body, **named}
    return b"".join(parts.get(piece, piece.encode()) for piece in _PARTS.split(rules.signed))


def _named(rules: Webhook, received: Received) -> Mapping[str, bytes] | None:
    """The headers that are signed with the body, by their places in the text; None if one is missing."""
    places = (("{timestamp}", rules.timestamp), ("{id}", rules.message_id))
    named = {part: _header(received, place).encode() for part, place in places if part in rules.signed}
    return named if all(named.values()) else None


def _signatures(rules: Webhook, received: Received) -> Iterator[bytes]:
    value = _header(received, rules.header)
    if rules.scheme is SignatureScheme.STANDARD:
        versions = (word.partition(",") for word in value.split(" ")[:MOST_SIGNATURES])
        yield from _decoded(rules.scheme, (text for version, _, text in versions if version == "v1"))
    elif value.startswith(rules.prefix):
        yield from _decoded(rules.scheme, [value.removeprefix(rules.prefix)])


def _decoded(scheme: SignatureScheme, texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        try:
            signature = bytes.fromhex(text) if scheme is SignatureScheme.HMAC_HEX else _unbase64(text)
        except ValueError:
            continue
        if len(signature) == sha256().digest_size:
            yield signature


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _key(rules: Webhook, key: str) -> bytes:
    """Empty, and nothing is signed by it, where it has not the form that its scheme wants."""
    if rules.scheme is not SignatureScheme.STANDARD:
        return key.encode()
    try:
        return _unbase64(key.removeprefix("whsec_"))
    except ValueError:
        return b""


def _is_of(key: bytes, text: bytes, signatures: list[bytes]) -> bool:
    expected = digest(key, text, "sha256")
    fits = [compare_digest(expected, signature) for signature in signatures]
    return bool(key) and any(fits)


def _check_time(rules: Webhook, received: Received, document: Json, now: datetime) -> None:
    place = rules.timestamp
    value = resolve(document, place) if place.startswith("/") else _header(received, place)
    sent_at = _number(value)
    if sent_at is None:
        raise NotOfNow
    seconds = sent_at / 1000 if rules.timestamp_unit is TimestampUnit.MILLISECONDS else sent_at
    if abs(now.timestamp() - seconds) > rules.tolerance:
        raise NotOfNow


def _number(value: Json) -> float | None:
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"[0-9]{1,15}", value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < _LATEST else None
