"""What travels through histories, written briefly: a dataclass's fields that hold their defaults are left out.

Each refresh is in its history for a day. Decoding fills the defaults in, which is why none may ever be changed; a
process that writes them out (an older version, the `temporal` command) is understood as well.
"""

import dataclasses
from datetime import datetime
from functools import cache
from typing import Any, get_type_hints

from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
    value_to_type,
)


class _Brief(AdvancedJSONEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, datetime):
            return o.isoformat().replace("+00:00", "Z")
        if not dataclasses.is_dataclass(o) or isinstance(o, type):
            return super().default(o)
        told = ((name, getattr(o, name), default) for name, default in _defaults(type(o)))
        return {name: value for name, value, default in told if value != default}


@cache
def _defaults(kind: type[Any]) -> list[tuple[str, Any]]:
    """Each field with its default; one without has `MISSING`, which nothing equals."""
    return [
        (f.name, f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
        for f in dataclasses.fields(kind)
    ]


class _Dataclasses(JSONTypeConverter):
    """As the SDK decodes them, but their types are worked out once: each time, it takes longer than the rest."""

    def to_typed_value(self, hint: type[Any], value: Any) -> Any:
        if not dataclasses.is_dataclass(hint) or not isinstance(value, dict):
            return self.Unhandled
        kinds = _kinds(hint)
        return hint(**{name: value_to_type(kinds[name], told, [self]) for name, told in value.items() if name in kinds})


@cache
def _kinds(kind: type[Any]) -> dict[str, Any]:
    """The type of each field. Those of other versions are passed over."""
    told = get_type_hints(kind)
    return {f.name: told[f.name] for f in dataclasses.fields(kind)}


class BriefPayloads(CompositePayloadConverter):
    """The SDK's own converters, but for what is made of dataclasses in JSON."""

    def __init__(self) -> None:
        others = DefaultPayloadConverter.default_encoding_payload_converters
        brief = JSONPlainPayloadConverter(encoder=_Brief, custom_type_converters=[_Dataclasses()])
        super().__init__(*(brief if isinstance(one, JSONPlainPayloadConverter) else one for one in others))


BRIEF = dataclasses.replace(DataConverter.default, payload_converter_class=BriefPayloads)
"""For every client and worker of ours."""
