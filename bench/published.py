"""Figures as they stand in docs/performance.md: tables between marks, and pictures beside it."""

import re
from collections.abc import Iterable
from pathlib import Path

from bench import pictures
from bench.report import Report, goals_table, kept, save

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
FIGURES = Path(__file__).parent / "figures"
MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
GOALS = "goals"


def publish(reports: Iterable[Report], page: Path = PAGE, images: Path = IMAGES, figures: Path = FIGURES) -> None:
    """Keep these figures, and write all that are kept into the page."""
    for report in reports:
        save(report, figures)
        for name, picture in pictures.of(report).items():
            (images / f"bench-{name}.svg").write_text(picture, encoding="utf-8")
    page.write_text(filled(page.read_text(encoding="utf-8"), figures), encoding="utf-8")


def filled(text: str, figures: Path = FIGURES) -> str:
    """The page with every table that is known; the others stay as they are."""
    parts = [match[2] for match in MARKED.finditer(text)]
    known = {part: report for part in parts if (report := kept(part, figures)) is not None}
    tables = {part: report.markdown() for part, report in known.items()} | {
        GOALS: goals_table(known.values()).markdown()
    }

    def renewed(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match[2]]}\n\n{match[3]}" if match[2] in tables else match[0]

    return MARKED.sub(renewed, text)
