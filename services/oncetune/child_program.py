"""A program that belongs to the process that started it: its standard output is a protocol, and it ends with it."""

import ctypes
import os
import signal
import sys
from threading import Thread
from typing import TextIO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ORPHANED_EXIT = 1


def take_stdout() -> TextIO:
    """The real standard output, kept for protocol lines; whatever else prints from now on goes to standard error."""
    sys.stdout.flush()
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return protocol


def die_with_parent() -> None:
    """End this process at once when standard input ends, and (Linux) when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    Thread(target=_wait_for_end_of_stdin, name="parent", daemon=True).start()


def _wait_for_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_ORPHANED_EXIT)  # not sys.exit: only this thread would end
