"""Types of request fields, with the bounds that hold everywhere."""

import re
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from domain.errors import Problem
from domain.identity import builder_id_problem

MAX_URL = 2048
MAX_LIST = 100


def _builder_id(value: str) -> str:
    problem = builder_id_problem(value)
    if problem:
        raise ValueError(problem)
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("contains a control character")
    return value


BuilderId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_builder_id)]
"""The builder's own id of a tenant or a user."""
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL), AfterValidator(_printable)]
ScopeList = Annotated[list[BuilderId], Field(max_length=MAX_LIST)]


def is_row_id(value: str) -> bool:
    """Whether it can be an id of ours. PostgreSQL refuses to look for some that cannot, instead of finding nothing."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is not None


def _row_id(value: str) -> str:
    if not is_row_id(value):
        raise Problem("not_found")
    return value


RowId = Annotated[str, AfterValidator(_row_id)]
"""An id of ours in a path."""
PathId = Annotated[RowId, Path(alias="id")]
"""The same where the path calls it `id`, as the contract does."""


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a misspelt one is not ignored in silence."""

    model_config = ConfigDict(extra="forbid")
