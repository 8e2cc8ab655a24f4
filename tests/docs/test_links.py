"""No link leads nowhere, and no page is out of reach."""

from pathlib import Path

import pytest

from tests.docs.reading import DOCS, ROOT, anchors, links

PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "sdk" / "web" / "README.md", ROOT / "tests/histories/README.md"]
)
ENTRANCES = ("README.md", "docs/architecture.md")


def reached(page: Path) -> list[tuple[Path, str]]:
    """File and anchor of every relative link of a page."""
    found = (link.partition("#") for link in links(page.read_text(encoding="utf-8")) if "://" not in link)
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in reached(page):
        assert target.exists(), f"{target} is not there"
        assert target.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{target.name} has no heading #{anchor}"


def test_the_links_are_found() -> None:
    assert ROOT / "docs" / "architecture.md" in {target for target, _ in reached(ROOT / "README.md")}
    assert DOCS / "images" / "demo-dark.png" in {target for target, _ in reached(ROOT / "README.md")}
    assert "codes" in {anchor for _, anchor in reached(DOCS / "temporal-ui.md")}


def test_every_page_is_linked_from_an_entrance() -> None:
    linked = {target for entrance in ENTRANCES for target, _ in reached(ROOT / entrance)}
    beyond = {target for page in linked if page.name == "README.md" for target, _ in reached(page)}
    assert [page for page in DOCS.rglob("*.md") if page not in linked | beyond] == []
