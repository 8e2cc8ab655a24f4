"""The served OpenAPI document against the contract: it may have more, never less."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import openapi_document

CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("contract.json").read_text())
OPERATIONS = sorted(CONTRACT["paths"])
JSON = "application/json"


@pytest.fixture(scope="session")
def served() -> dict[str, Any]:
    return openapi_document()


@pytest.fixture
def operation(served: dict[str, Any], request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contract's operation and ours. What a path calls its parameter is nobody's business."""
    name: str = request.param
    method, path = name.split()
    ours = {_shape(p): operations for p, operations in served["paths"].items()}
    assert method.lower() in ours.get(_shape(path), {}), f"{name} is not served"
    return CONTRACT["paths"][name], ours[_shape(path)][method.lower()]


each_operation = pytest.mark.parametrize("operation", OPERATIONS, indirect=True)


@each_operation
def test_every_parameter_is_taken_and_none_is_demanded_beside(operation: Any) -> None:
    theirs, ours = ({(p["in"], p["name"]): p["required"] for p in o.get("parameters", ())} for o in operation)
    for place, name in theirs:
        assert place == "path" or (place, name) in ours, f"the parameter {name} is not taken"
    for (place, name), required in ours.items():
        assert place == "path" or not required or theirs.get((place, name)), f"the parameter {name} is demanded"


@each_operation
def test_every_request_of_the_contract_is_accepted(operation: Any, served: Any) -> None:
    theirs, ours = operation
    if "contentMediaType" in theirs.get("request", {}):
        given = ours["requestBody"]["content"][theirs["request"]["contentMediaType"]]["schema"]
        assert {name: theirs["request"][name] for name in given} == given
    elif "request" in theirs:
        body = _schema(ours["requestBody"]["content"][JSON]["schema"], served["components"]["schemas"])
        asked = _schema(theirs["request"], CONTRACT["schemas"])
        assert set(body.get("required", ())) <= set(asked.get("required", ())), (
            "more is demanded than the contract does"
        )
        _covers(asked, body, served["components"]["schemas"])


@each_operation
def test_every_answer_has_all_the_contract_promises(operation: Any, served: Any) -> None:
    theirs, ours = operation
    for status, content in theirs["responses"].items():
        if status == "default":
            continue
        assert status in ours["responses"], f"{status} is not an answer"
        if content is not None:
            promised = _schema(content[JSON], CONTRACT["schemas"])
            given = _schema(ours["responses"][status]["content"][JSON]["schema"], served["components"]["schemas"])
            _covers(promised, given, served["components"]["schemas"], answers=True)


@each_operation
def test_who_may_ask_is_as_the_contract_says(operation: Any) -> None:
    theirs, ours = operation
    assert bool(ours.get("security")) is theirs["authenticated"]


async def test_a_refusal_has_all_of_the_contracts_error(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/connections/search", json={"limit": "many"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(CONTRACT["schemas"]["ErrorModel"]["properties"]) <= answer.json().keys()
    assert answer.json()["errors"][0].keys() == {"location", "message"}


def _covers(promised: dict[str, Any], given: dict[str, Any], ours: Any, *, answers: bool = False, at: str = "") -> None:
    """Whether `given` has every field of `promised`, with its type and enum; in answers also what is always there."""
    if promised.get("items"):
        _covers(_schema(promised["items"], CONTRACT["schemas"]), _schema(given["items"], ours), ours, answers=answers)
    if answers:
        assert set(promised.get("required", ())) <= set(given.get("required", ())), f"not always there, in {at or 'it'}"
    for name, field in promised.get("properties", {}).items():
        assert name in given["properties"], f"{at}{name} is missing"
        theirs, mine = _schema(field, CONTRACT["schemas"]), _schema(given["properties"][name], ours)
        assert _types(mine) <= _types(theirs) or not _types(theirs), f"{at}{name} is {_types(mine)}"
        assert set(theirs.get("enum", ())) in (set(), set(mine.get("enum", ()))), f"{at}{name} has another enum"
        _covers(theirs, mine, ours, answers=answers, at=f"{at}{name}.")


def _schema(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Without references, and without the alternative of being null."""
    if "$ref" in schema:
        return _schema(known[schema["$ref"].rsplit("/", 1)[1]], known)
    for alternative in schema.get("anyOf", ()):
        if alternative.get("type") != "null":
            return _schema(alternative, known)
    return schema


def _types(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", ())
    return {kinds} if isinstance(kinds, str) else set(kinds) - {"null"}


def _shape(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)
