"""Every code that can be met has words."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import checkup, forecast
from domain.holds import SECRET_REPLACED
from domain.oauth.failures import FailureCode
from domain.reasons import WHY, because

ROOT = Path(__file__).parents[2]


def constants(*names: str) -> Iterator[str]:
    """Texts that activities give these names; read, not imported, as they are above this room."""
    for path in sorted(ROOT.glob("activities/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if named and node.targets[0].id in names and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def test_every_code_of_a_failure_has_words() -> None:
    assert set(FailureCode) <= WHY.keys()


def test_every_doubt_and_every_end_has_words() -> None:
    doubts = {checkup.TOKEN_REFUSED, checkup.SITE_LOST, checkup.SCOPES_LOST, checkup.UNCLEAR, checkup.UNREACHABLE}
    ends = {forecast.INACTIVITY, forecast.ABSOLUTE_LIFETIME, forecast.NO_REFRESH_TOKEN, forecast.CLIENT_SECRET}
    assert doubts | ends | {SECRET_REPLACED} <= WHY.keys()


def test_every_code_of_our_own_has_words() -> None:
    names = ("IN_DOUBT", "ROTATION_LOST", "TOKEN_UNCHANGED", "GRANT_EXPIRED", "EXCHANGE_UNKNOWN")
    found = set(constants(*names))
    assert len(found) == len(names)
    assert found <= WHY.keys()


def test_a_code_stands_with_its_words() -> None:
    assert because("rate_limited") == ": the provider was asked too often (rate_limited)"
    assert because("of_tomorrow") == " (of_tomorrow)"
    assert because("") == ""


@pytest.mark.parametrize("text", ["Bearer abc", "a\nb", "<script>", "x" * 65, "é"])
def test_what_is_no_code_is_not_repeated(text: str) -> None:
    assert because(text) == ""
