"""python several.py FOLDER…: the real program for each folder in a process of its own, forked after the imports.

Importing torch and TRL takes longer than a toy run. Each folder gets stdout, stderr and exit (the status).
A folder that holds a file `every_position` is trained without the compact head; with `no_memory` there is none left
for samples.
"""

import os
import sys
import traceback
from pathlib import Path

os.environ["GOMP_SPINCOUNT"] = "2000"

from oncetune.training import __main__ as program
from oncetune.training import answers, dpo, run, samples, sampling  # noqa: F401  # the imports to be shared


def start(folder: Path) -> int:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if (folder / "every_position").exists():
        dpo.score_completions_only = lambda: None
    if (folder / "no_memory").exists():
        samples.sample = run_out_of_memory
    request = folder / "request.json"
    sys.argv = ["program", str(request if request.exists() else folder)]
    try:
        return answers.main() if request.exists() else program.main()
    except BaseException:
        traceback.print_exc()
        return 1


def run_out_of_memory(*_: object, **__: object) -> None:
    raise RuntimeError("can't allocate memory")


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        child = os.fork()
        if child == 0:
            status = start(folder)
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        (folder / "exit").write_text(str(os.waitstatus_to_exitcode(ended)))


if __name__ == "__main__":
    main()
