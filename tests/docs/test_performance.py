"""The page of figures shows all that was kept, and nothing else."""

from bench.published import MARKED, PAGE, filled

TEXT = PAGE.read_text(encoding="utf-8")


def test_every_part_of_the_page_has_its_table() -> None:
    empty = [part[2] for part in MARKED.finditer(TEXT) if "|" not in part[0].removesuffix(part[3])]
    assert empty == [], "run `make bench WRITE=1`, or ONLY for these parts"


def test_the_page_shows_what_the_last_run_of_each_part_found() -> None:
    assert filled(TEXT) == TEXT, "figures are not written by hand: `make bench WRITE=1` writes them"
