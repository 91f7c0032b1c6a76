"""How a command ends: exit codes, and the failure that carries one with words for a person."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `oncetune`; the same table stands in `--help`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    TIMEOUT = 3
    AUTHENTICATION = 4
    UNSUCCESSFUL = 5
    INTERRUPTED = 130


TABLE = """\b
Exit codes:
    0  ok
    1  failure
    2  usage: wrong options or arguments
    3  not finished in time
    4  authentication: no secret, a wrong one, or no admin
    5  the run failed or was cancelled
  130  Ctrl-C
"""


class Failure(Exception):
    """End the command: what is wrong, what to do about it, and the exit code."""

    def __init__(self, what: str, remedy: str = "", code: Exit = Exit.FAILURE) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.code = code
