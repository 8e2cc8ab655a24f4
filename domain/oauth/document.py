"""Reading a provider's JSON: strict about form, bounded in what it hands on (RFC 8259, RFC 6901)."""

import json
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_IDENTIFIER = 255
"""Characters of an id or a name taken from a provider; longer ones are refused, never cut."""


class DocumentError(ValueError):
    """The bytes are not one well-formed JSON document. The message never holds any of them."""


def read_json(body: bytes) -> Json:
    """The document in `body`. Raises DocumentError; duplicate names are refused too, for either may be meant.

    A number that is none (NaN, Infinity) or beyond measure is read as a float (RFC 8259 section 9 leaves that open): a
    rotated token beside it exists nowhere else.
    """
    try:
        document: Json = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_integer)
    except (ValueError, RecursionError):
        # `from None`: the decoder's message quotes the document, which may hold a token.
        raise DocumentError("The answer is not well-formed JSON in UTF-8.") from None
    return document


def read_object(body: bytes) -> dict[str, Json]:
    """The JSON object in `body`. Raises DocumentError for anything else."""
    document = read_json(body)
    if not isinstance(document, dict):
        raise DocumentError("The answer is JSON, but not an object.")
    return document


def resolve(document: Json, pointer: str) -> Json:
    """What an RFC 6901 pointer finds, `None` where it finds nothing; the empty pointer is the whole document."""
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def identifier(value: Json) -> str | None:
    """An id or a name as text: a non-empty printable string or an integer, else `None`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= MAX_IDENTIFIER and value.isprintable():
        return value
    return None


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_IDENTIFIER else float(digits)
