"""`docs/providers.md` says of every key what the code does."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from domain.oauth.failures import FailureCode
from domain.oauth.token import BodyFormat, ClientAuth
from providers.catalog import load_catalog
from providers.loading import load_provider
from providers.model import Pkce, SignatureScheme, TimestampUnit
from providers.quirks import REGISTRY
from providers.wire import TABLES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "providers.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE))
KEYS = {
    f"{table}.{name}".removeprefix("."): field
    for table, model in TABLES.items()
    for name, field in model.model_fields.items()
}
ELSEWHERE = {"refresh_url", "scopes.user", "scopes.installation", "revocation.client_auth"}


def test_every_key_has_its_row() -> None:
    assert ROWS.keys() == KEYS.keys()


@pytest.mark.parametrize("key", sorted(KEYS.keys() - ELSEWHERE))
def test_every_default_is_as_written(key: str) -> None:
    field, written = KEYS[key], ROWS[key]
    if field.is_required():
        assert written == "required"
    elif written in ("none", "any"):
        default: Any = field.get_default(call_default_factory=True, validated_data={})
        assert not default or not any(default.model_dump().values())
    else:
        assert field.default is not PydanticUndefined
        assert tomllib.loads(f"x = {written.strip('`')}")["x"] == field.default


def test_every_value_of_an_enumerated_key_is_named() -> None:
    for value in (*ClientAuth, *BodyFormat, *Pkce, *SignatureScheme, *TimestampUnit):
        assert f'`"{value}"`' in PAGE
    assert all(f"| `{name}` |" in PAGE for name in REGISTRY)


def test_every_code_that_a_token_endpoint_leads_to_is_named() -> None:
    network = {"unreachable", "no_answer", "answer_too_large", "api_refused"}
    assert all(f"`{code}`" in PAGE for code in set(FailureCode) - network)


def test_every_example_on_the_page_loads(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 4
    for text in examples:
        path = tmp_path / f"{tomllib.loads(text)['id']}.toml"
        path.write_text(text, encoding="utf-8")
        load_provider(path, allow_loopback_http=True)


def test_the_page_shows_the_plain_example_as_it_is() -> None:
    assert (DOCS / "examples" / "plain.toml").read_text(encoding="utf-8") in PAGE


def test_the_plain_example_joins_the_catalog() -> None:
    plain = load_catalog(DOCS / "examples", allow_loopback_http=True)["plain"]
    assert plain.issuer == "http://127.0.0.1:9300/plain"
    assert (plain.rotation, plain.replay_window, plain.has_sites) == (True, 0, False)
    assert plain.revocation is not None
