"""How far something long is, on stderr, for whoever looks at a terminal; nothing on a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Told: TypeAlias = Callable[[str, int, int], None]
"""Hears of each step how far it is, and of how much; 0 where nobody knows."""


def say_nothing(_step: str, _done: int, _of: int) -> None:
    """Nobody watches."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """A moving sign, for what has no steps to count."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress() -> Iterator[Told]:
    """A bar, gone at the end."""
    if not sys.stderr.isatty():
        yield say_nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def told(step: str, done: int, of: int) -> None:
            bar.update(task, description=step, completed=done, total=of or None)

        yield told
