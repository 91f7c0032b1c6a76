"""A training program in place of the real one: `python stand_in.py FOLDER`. It speaks the same protocol and does what
the first row of its dataset tells it: `{"seconds": 0.3, "end": "finish"}`, as the row's prompt.

Its adapter holds the rows that it learned from, as they were when it ended.

Ends: finish, refuse, die (out of memory), hang (no progress, deaf to SIGTERM), poison (kills its trainer).
Standard library only: it starts in a blink.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
STEPS = 10
REFUSED_EXIT = 3


def say(**line):
    print(json.dumps(line), flush=True)


def die_with_trainer():
    while os.read(0, 4096):
        pass
    os._exit(1)


def finish():
    adapter = FOLDER / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(os.urandom(20_000))  # no two attempts are alike
    shutil.copyfile(FOLDER / "dataset.jsonl", adapter / "rows.jsonl")
    say(kind="finished", metrics={"loss": 0.1, "steps": STEPS})


def refuse():
    say(kind="refused", code="rows_too_long", message="Every row is too long.")
    sys.exit(REFUSED_EXIT)


def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Event().wait()


ENDS = {
    "finish": finish,
    "refuse": refuse,
    "hang": hang,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "poison": lambda: os.kill(os.getppid(), signal.SIGKILL),
}


def main():
    threading.Thread(target=die_with_trainer, daemon=True).start()
    with (FOLDER / "dataset.jsonl").open() as rows:
        wanted = json.loads(json.loads(rows.readline())["prompt"])
    began = time.monotonic()
    for step in range(1, STEPS + 1):
        say(kind="progress", step=step, steps=STEPS, loss=1 / step)
        threading.Event().wait(max(0, began + wanted["seconds"] * step / STEPS - time.monotonic()))
    ENDS[wanted["end"]]()


main()
