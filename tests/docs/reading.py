"""Reads pages of the documentation: their tables, headings, links and fenced blocks."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}$\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row that begins with something in code, as written; a table's head does not."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def names(text: str) -> list[str]:
    """What stands in code at the beginning of each row."""
    return [cells[0].strip("`") for cells in rows(text)]


def blocks(text: str, language: str) -> list[str]:
    return [body for marked, body in FENCE.findall(text) if marked == language]


def links(text: str) -> list[str]:
    """Targets of links and pictures outside of code."""
    plain = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [target or attribute for target, attribute in LINK.findall(plain)]


def anchors(text: str) -> Iterator[str]:
    """The anchors that headings get, as GitHub makes them."""
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
