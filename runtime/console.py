"""What `authpipe dev` prints: lines tagged by process. A terminal that stops reading never stops the stack."""

import contextlib
import queue
import sys
import threading
from collections.abc import Sequence
from io import UnsupportedOperation
from typing import Self, TextIO

HELD_LINES = 10_000
FLUSH_SECONDS = 1.0
WIDTH = 9
_COLOURS = (36, 32, 33, 35, 34, 96)


class Console:
    """Lines go to a thread of its own: a write to a full pipe blocks, and must not block the supervisor.

    Lines beyond `HELD_LINES` that nobody reads are dropped. Use as a context manager; leaving it flushes.
    """

    def __init__(self, names: Sequence[str], out: TextIO | None = None, *, colour: bool | None = None) -> None:
        self._out = out or _standard_output()
        self._colour = self._out.isatty() if colour is None else colour
        self._colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}
        self._lines: queue.Queue[str | None] = queue.Queue(HELD_LINES)
        self._thread = threading.Thread(target=self._write, name="console", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._put(None)
        self._thread.join(FLUSH_SECONDS)

    def say(self, name: str, line: str) -> None:
        """Print one line of the process `name`."""
        tag = f"{name:<{WIDTH}}"
        if self._colour:
            tag = f"\x1b[{self._colours.get(name, 37)}m{tag}\x1b[0m"
        self._put(f"{tag} | {line}")

    def show(self, text: str) -> None:
        """Print a text as it is."""
        self._put(text)

    def _put(self, text: str | None) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(text)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except (OSError, ValueError):
                return


def _standard_output() -> TextIO:
    """By a stream of its own: one that nobody reads stays locked, and `sys.stdout` is flushed as the process ends."""
    out = sys.stdout
    with contextlib.suppress(UnsupportedOperation):  # it was replaced by one without a file
        return open(out.fileno(), "w", encoding=out.encoding, errors=out.errors, closefd=False)
    return out
