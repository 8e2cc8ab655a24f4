import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.http import HttpResponse
from domain.oauth.answer import read_token_answer
from domain.oauth.document import DocumentError, read_json, resolve
from domain.oauth.failures import GrantType

DOCUMENT = {"a": {"b/c": 1, "d~e": [10, {"f": "g"}], "": 2}}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", DOCUMENT),
        ("/a/b~1c", 1),
        ("/a/d~0e/0", 10),
        ("/a/d~0e/1/f", "g"),
        ("/a/", 2),
        ("/a/d~0e/2", None),
        ("/a/d~0e/-1", None),
        ("/a/d~0e/x", None),
        ("/missing/deeper", None),
        ("/a/b~1c/deeper", None),
    ],
)
def test_a_pointer_finds_its_value_or_nothing(pointer: str, found: object) -> None:
    assert resolve(DOCUMENT, pointer) == found  # type: ignore[arg-type]


def test_the_error_quotes_nothing_of_the_document() -> None:
    with pytest.raises(DocumentError) as error:
        read_json(b'{"access_token":"canary"')
    assert "canary" not in str(error.value)
    assert error.value.__suppress_context__
    assert error.value.__cause__ is None


@given(status=st.integers(100, 599), body=st.binary(max_size=200))
def test_no_answer_whatever_raises(status: int, body: bytes) -> None:
    for grant in GrantType:
        read_token_answer(HttpResponse(status, body=body), grant)
