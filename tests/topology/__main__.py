"""`python -m tests.topology [--connections N] [--seconds N] …`: many processes, one of each at a time lost."""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.topology.run import Size, topology

USUAL = Size()


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.topology", description=__doc__)
    parser.add_argument("--connections", type=int, default=USUAL.connections)
    parser.add_argument("--seconds", type=float, default=USUAL.window, help="of each measurement of refreshes")
    parser.add_argument("--seed", type=int, help="the order of blows to repeat; drawn if left out")
    parser.add_argument("--keep", type=Path, help="a new folder for the stack's files and logs")
    return parser.parse_args(argv)


def main() -> int:
    asked = options(sys.argv[1:])
    drawn_by = asked.seed if asked.seed is not None else secrets.randbelow(10**6)
    size = Size(connections=asked.connections, window=asked.seconds)
    print(f"seed {drawn_by}: {size.connections} connections, windows of {size.window:g} s", flush=True)
    began = time.monotonic()
    code = asyncio.run(topology(size, drawn_by, asked.keep))
    print(f"\nin all {time.monotonic() - began:.0f} s; again with SEED={drawn_by}")
    return code


if __name__ == "__main__":
    sys.exit(main())
