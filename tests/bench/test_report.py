"""Figures are printed as tables, held to their goals, and renewed in the page without touching the rest of it."""

from pathlib import Path

from bench.published import publish
from bench.report import Goal, Report, Table

PAGE = """# Performance

Words.

<!-- figures: goals -->
<!-- end -->

<!-- figures: replay -->
old
<!-- end -->

<!-- figures: idle -->
kept as it is
<!-- end -->
"""


def report(measured: float) -> Report:
    table = Table("Replaying", ("history", "ms"), [("a life", f"{measured:g}")])
    return Report("replay", [table], [Goal("replays", measured, 5, "ms", at_most=True)])


def test_a_goal_is_a_bound_from_below_or_from_above() -> None:
    assert Goal("reads", 0.7, 0.7).met
    assert not Goal("reads", 0.69, 0.7).met
    assert Goal("bytes", 25, 25, at_most=True).met
    assert not Goal("bytes", 26, 25, at_most=True).met


def test_a_table_is_markdown_whose_columns_stand_below_each_other() -> None:
    table = Table("Reads", ("", "a second"), [("floor", "5,000"), ("ours", "900")])
    assert table.markdown() == (
        "**Reads**\n\n|       | a second |\n|-------|----------|\n| floor | 5,000    |\n| ours  | 900      |"
    )


def test_publishing_renews_what_was_measured_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    publish([report(4.5)], page, tmp_path, tmp_path / "figures")
    text = page.read_text()
    assert "| a life  | 4.5 |" in text
    assert "| replays | ≤ 5 ms | 4.5 ms   | met |" in text
    assert "old" not in text
    assert "kept as it is" in text
    publish([report(5.5)], page, tmp_path, tmp_path / "figures")
    assert "MISSED" in page.read_text()
