"""Below a libfaketime, sleep by another way: its 0.9.10 answers the one that CPython asks for with EINVAL."""

import os
import threading
import time


def sleep_below_libfaketime() -> None:
    """For the process that calls this; without libfaketime nothing changes."""
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        time.sleep = lambda seconds: threading.Event().wait(seconds)
