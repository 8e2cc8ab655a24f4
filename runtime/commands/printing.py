"""Prints answers: tables and cards for people, one JSON document for programs. No text reaches a terminal raw."""

import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Controls, invisible marks of direction, halves of surrogate pairs, private ones, line and paragraph separators.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
GAP = "  "
LEAST_FOLD = 24


def clean(value: Any) -> str:
    """A value as one line of visible text: what could move a cursor or hide a word is spelt out, as in `\\x1b`."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(clean, value))
        case dict():
            return ", ".join(f"{clean(key)}={clean(inner)}" for key, inner in value.items())
    return "".join(_spelt(c) if unicodedata.category(c) in _UNFIT else c for c in str(value))


def moment(value: Any) -> str:
    """An instant of an answer, in UTC to the second: `2026-03-01 12:00:00Z`."""
    text = clean(value)
    return text.replace("T", " ", 1).partition(".")[0].rstrip("Z") + "Z" if text else ""


def say(text: str = "") -> None:
    """A line of the answer, cleaned."""
    typer.echo(clean(text))


def note(text: str) -> None:
    """A line for whoever looks on; it goes to stderr, so that it never joins an answer. Lost where that is full."""
    with suppress(OSError):
        typer.echo(clean(text), err=True)


def document(value: Any) -> None:
    """One JSON document on stdout. Its escapes are ASCII, so it is harmless on a terminal too."""
    typer.echo(json.dumps(value, indent=2))


def card(pairs: Mapping[str, Any]) -> None:
    """One thing, a line for each of its fields that is set."""
    shown = {name: clean(value) for name, value in pairs.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        typer.echo(f"{name:<{width}}{GAP}{text}")


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Many things: fitted to the terminal, or whole lines with aligned columns where it is none."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console

        on_terminal(titles, cells, Console(highlight=False))
    else:
        for line in _aligned([list(titles), *cells]):
            typer.echo(line)


def on_terminal(titles: Sequence[str], cells: Sequence[Sequence[str]], console: "Console") -> None:
    """A table whose last column is folded; where even that leaves no room, a card for each row. No id is cut."""
    widths = [max(map(len, column)) + len(GAP) for column in zip(titles, *cells, strict=True)]
    if sum(widths[:-1]) + min(widths[-1], LEAST_FOLD) <= console.width:
        console.print(_folded(titles, cells))
        return
    for row in cells:
        for title, cell in zip(titles, row, strict=True):
            if cell:
                console.print(f"{title:<{max(map(len, titles))}}{GAP}{cell}", markup=False, soft_wrap=True)
        console.print()


def _folded(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, len(GAP), 0, 0), header_style="bold")
    for title in titles[:-1]:
        grid.add_column(title, no_wrap=True)
    grid.add_column(titles[-1], overflow="fold")
    for row in cells:
        # Text, not str: brackets in somebody's name are no markup.
        grid.add_row(*map(Text, row))
    return grid


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield GAP.join(f"{cell or '-':<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()


def print_one(thing: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, for programs or for people."""
    document(thing) if as_json else card(thing)


def print_page(
    page: Mapping[str, Any], titles: Sequence[str], row: Callable[[Any], Sequence[Any]], *, as_json: bool
) -> None:
    """A page of a search, for programs or for people; stderr says that there was nothing, or that there is more."""
    if as_json:
        document(page)
    elif not page["data"]:
        note("Nothing was found.")
    else:
        table(titles, [row(thing) for thing in page["data"]])
        if page.get("has_more"):
            note(f"There is more: add --all, or --cursor {page['next_cursor']}")


def warn_on_stderr() -> None:
    """Send warnings of the rooms below to stderr, secrets struck out: by itself structlog writes to stdout."""
    import structlog

    from runtime.logs import redact

    structlog.configure(
        processors=[structlog.processors.add_log_level, redact, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
