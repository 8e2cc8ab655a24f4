"""Named hooks for what a provider does beyond its data: each wraps a flow, and a provider's file names it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from domain.http import Flow, HttpResponse
from domain.oauth.document import DocumentError, read_object

T = TypeVar("T")
Quirk: TypeAlias = Callable[[Flow[Any]], Flow[Any]]


def errors_in_200(inner: Flow[T]) -> Flow[T]:
    """An `error`, or `"ok": false`, inside HTTP 200 is a refusal: read it as the 400 it should have been."""
    return _with_responses(inner, _refusal_as_400)


REGISTRY: Mapping[str, Quirk] = {"errors_in_200": errors_in_200}


def with_quirks(names: Sequence[str], flow: Flow[T]) -> Flow[T]:
    """`flow` inside every named hook, the first one innermost."""
    for name in names:
        flow = REGISTRY[name](flow)
    return flow


def _with_responses(inner: Flow[T], change: Callable[[HttpResponse], HttpResponse]) -> Flow[T]:
    try:
        request = next(inner)
        while True:
            response = yield request
            request = inner.send(change(response))
    except StopIteration as done:
        result: T = done.value
        return result


def _refusal_as_400(response: HttpResponse) -> HttpResponse:
    if response.status != 200:
        return response
    try:
        fields = read_object(response.body)
    except DocumentError:
        return response
    # What holds a token is no refusal, whatever else it says: a rotated one stands nowhere else.
    tokens = "access_token" in fields or "refresh_token" in fields
    refused = not tokens and (fields.get("ok") is False or "error" in fields)
    return replace(response, status=400) if refused else response
