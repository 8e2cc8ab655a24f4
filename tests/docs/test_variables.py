"""Whoever exports a variable that a page names is not refused for it: the server knows each, and refuses all others."""

import re
from pathlib import Path

import pytest

from runtime.settings import PREFIX, Settings, variable
from tests.docs.reading import DOCS, ROOT

KNOWN = {variable(field) for field in Settings.model_fields}
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def named(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}\w+", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_of_ours_that_a_page_names_is_a_setting(page: Path) -> None:
    assert named(page.read_text(encoding="utf-8")) - KNOWN == set()


def test_they_are_found() -> None:
    assert named('-H "Authorization: Bearer $AUTHPIPE_SECRET_KEY"') - KNOWN == {"AUTHPIPE_SECRET_KEY"}
    assert named("`AUTHPIPE_…`") == set()
