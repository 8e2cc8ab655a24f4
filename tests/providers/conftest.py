import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from domain.http import Flow, HttpRequest, HttpResponse
from providers.loading import load_provider
from providers.model import Provider

MINIMAL = """
id = "acme"
name = "Acme"
authorization_url = "https://as.acme.example/authorize"
token_url = "https://as.acme.example/token"
"""

Make: TypeAlias = Callable[[str], Provider]
Step: TypeAlias = Callable[..., tuple[Any, list[HttpRequest]]]


@pytest.fixture
def provider_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a minimal provider's file with `more` after it."""

    def write(more: str = "", *, name: str = "acme", minimal: str = MINIMAL) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(minimal + more, encoding="utf-8")
        return path

    return write


@pytest.fixture
def make(provider_file: Callable[..., Path]) -> Make:
    """A provider from the minimal file with `more` after it."""
    return lambda more: load_provider(provider_file(more))


@pytest.fixture
def step() -> Step:
    """Drives a flow by hand: answers each request in turn; gives the result and what was asked."""

    def drive(flow: Flow[Any], *answers: HttpResponse) -> tuple[Any, list[HttpRequest]]:
        asked: list[HttpRequest] = []
        waiting = list(answers)
        try:
            asked.append(next(flow))
            while True:
                asked.append(flow.send(waiting.pop(0)))
        except StopIteration as done:
            assert not waiting, "the flow ended before every answer was used"
            return done.value, asked

    return drive


@pytest.fixture
def answer() -> Callable[..., HttpResponse]:
    def build(document: object, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> HttpResponse:
        return HttpResponse(status, dict(headers), json.dumps(document).encode())

    return build
