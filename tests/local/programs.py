"""Small real programs, and the processes that carry a mark."""

import os
import sys
from pathlib import Path

from oncetune.local.processes import Program


def python(name: str, code: str, *, stage: int = 0, **options: object) -> Program:
    """A program that runs this code."""
    return Program(name, (sys.executable, "-u", "-c", code), dict(os.environ), stage=stage, **options)  # type: ignore[arg-type]


FOREVER = "import signal\nprint('up')\nsignal.pause()"
STUBBORN = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\nsignal.pause()"


def carrying(mark: str) -> list[str]:
    """The processes on this machine, this one aside, whose command line or environment holds `mark`.

    A variable OMP_… of theirs reaches the trainer's children, too: see trainer/child_environment.py.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
                around = (entry / "environ").read_bytes()
            except OSError:  # ended, or somebody else's
                continue
            if mark.encode() in words + around:
                found.append(f"{entry.name}: {words.replace(bytes(1), b' ').decode(errors='replace')[:200]}")
    return found
