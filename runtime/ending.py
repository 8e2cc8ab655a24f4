"""How every process of ours ends that may have talked to Temporal."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End at once, with what was said written out; what was open has to be closed already.

    While the interpreter takes itself apart, a thread of the engine's library may still want something of it. It has
    been seen to crash it, and to wait for it while it waited for the thread: then the process never ends.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream:
                stream.flush()
    os._exit(code)
