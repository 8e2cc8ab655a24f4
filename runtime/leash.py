"""Starts a program that ends when its starter does: `python -I -S leash.py STARTER_PID PROGRAM [ARGUMENT…]`.

A supervisor killed outright cannot end its children. On Linux the kernel does it: the child asks for SIGTERM at its
parent's death and then becomes the program, under the same process id. Elsewhere the program just starts, and the
next `authpipe dev` ends it by recorded id and start time. Imports nothing of ours, to cost few milliseconds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve, not fork


def main() -> None:
    starter, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != starter:
            # The starter died before the line above, and no signal will come.
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
