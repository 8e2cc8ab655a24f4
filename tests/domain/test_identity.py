import pytest

from domain.identity import MAX_BUILDER_ID, builder_id_problem, workflow_id


def test_a_workflow_id_names_workspace_kind_provider_and_life() -> None:
    assert workflow_id("default", "connection", "sample", "conn_1") == "default/connection/sample/conn_1"


@pytest.mark.parametrize(
    "given", ["a", "acme", "A b/c:d@e", "münchen", "日本", "👩‍💻"[0], "x" * MAX_BUILDER_ID, "", "' OR 1=1"]
)
def test_a_builders_own_id_is_nearly_anything(given: str) -> None:
    assert builder_id_problem(given) is None


@pytest.mark.parametrize(
    "given", ["\x00", "a\nb", "a\tb", "\x7f", "\x85", "\u200b", "\u202e", "\ufeff", "\ud800", "a\u2066b"]
)
def test_control_characters_visible_or_not_are_refused(given: str) -> None:
    assert builder_id_problem(given) == "contains a control character"


def test_an_id_of_129_characters_is_refused() -> None:
    assert builder_id_problem("x" * 129) == "is longer than 128 characters"
