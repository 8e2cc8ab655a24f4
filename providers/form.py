"""What the tables of a provider's file have in common: strict, with enums by their values."""

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field

E = TypeVar("E", bound=StrEnum)

POINTER = r"^(/([^~/]|~[01])*)*$"

Pointer = Annotated[str, Field(pattern=POINTER)]
"""RFC 6901."""
# An enum by its value: a strict model otherwise demands the member itself.
Lax = Annotated[E, Field(strict=False)]
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
"""A table takes its own keys only, each in its own type."""
