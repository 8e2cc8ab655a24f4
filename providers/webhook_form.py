"""The form of a provider file's `webhook` table: what its messages are signed with, and what they say."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from providers.form import STRICT, Lax, Pointer
from providers.model import SignatureScheme, TimestampUnit

MOST_TOLERANCE = 3600
"""Seconds; a message that was taken is remembered for longer than any can be sent again."""
_PLACE = re.compile(r"[A-Za-z0-9-]+|(/([^~/]|~[01])*)+")
_PARTS = re.compile(r"\{[^}]*\}")
_OWN = ("prefix", "signed", "timestamp", "timestamp_unit", "message_id")


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Several = Annotated[list[Annotated[Pointer, Field(min_length=1)]], Field(min_length=1), BeforeValidator(_several)]
Place = Annotated[str, Field(pattern=rf"^({_PLACE.pattern})?$")]
"""A header by its name, or a pointer into the body."""


class WebhookTable(BaseModel):
    model_config = STRICT

    scheme: Lax[SignatureScheme]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "webhook-signature"
    prefix: str = ""
    signed: str = "{body}"
    timestamp: Place = ""
    timestamp_unit: Lax[TimestampUnit] = TimestampUnit.SECONDS
    tolerance: Annotated[int, Field(ge=1, le=MOST_TOLERANCE)] = 300
    message_id: Place = ""
    event: Several
    withdrawn: Annotated[list[str], Field(min_length=1)]
    account_id: Pointer = ""
    site_id: Pointer = ""


def webhook_problems(table: WebhookTable) -> Iterator[tuple[str, str]]:
    """(key, reason) for what is well-formed key by key and still cannot be meant."""
    if not (table.account_id or table.site_id):
        yield "webhook", "needs account_id or site_id, or nobody knows whose access was withdrawn"
    if table.scheme is SignatureScheme.STANDARD:
        for key in _OWN:
            if getattr(table, key) != WebhookTable.model_fields[key].default:
                yield f"webhook.{key}", "is the scheme's own, leave it out"
        return
    yield from _unsigned(table)


def _unsigned(table: WebhookTable) -> Iterator[tuple[str, str]]:
    """What a signature does not cover can be changed by whoever repeats a message."""
    used = set(_PARTS.findall(table.signed))
    if "{body}" not in used or used - {"{body}", "{timestamp}", "{id}"}:
        yield "webhook.signed", "holds {body}, and besides it only {timestamp} and {id}"
    for key, part in (("timestamp", "{timestamp}"), ("message_id", "{id}")):
        place = getattr(table, key)
        in_header = bool(place) and not place.startswith("/")
        if in_header and part not in used:
            yield f"webhook.{key}", f"is a header that the signature does not cover: `signed` needs {part}"
        if part in used and not in_header:
            yield "webhook.signed", f"holds {part}, so {key} has to name a header"
