"""A training program in place of the real one: `python stand_in.py BEHAVIOUR CONTROL FOLDER`, the same protocol.

It writes its process id to CONTROL/pid and goes on when the test makes CONTROL/go. Standard library only: it starts
in a blink.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

BEHAVIOUR, CONTROL, FOLDER = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
REFUSED_EXIT, STOPPED_EXIT = 3, 4


def say(**line):
    print(json.dumps(line), flush=True)


def progress(step, steps):
    say(kind="progress", step=step, steps=steps, loss=1 / step, seconds_left=1.5)


def wait_for(name):
    while not (CONTROL / name).exists():
        threading.Event().wait(0.005)


def finish(**metrics):
    (FOLDER / "adapter").mkdir()
    (FOLDER / "adapter" / "adapter_model.safetensors").write_text("w" * 100)
    if BEHAVIOUR in ("reports", "scribbles"):  # a report takes a second of the processor: most tests go without
        write_record()
    say(kind="finished", metrics={"loss": 0.5, **metrics})


def write_record():
    """The least that there can be; contracts/training_record.py says what."""
    steps = [{"step": step, "loss": 1 / step, "tokens": 90 * step, "seconds": 0.5 * step} for step in (1, 2, 3, 4)]
    record = {"metrics": {}, "steps": steps, "base_model": "toy", "base_model_revision": "f" * 64,
              "phases": [{"name": "training", "seconds": 2.0}], "rows_trained": 1}  # fmt: skip
    (FOLDER / "record.json").write_text("{" if BEHAVIOUR == "scribbles" else json.dumps(record))


def tell(name, text):
    (CONTROL / f"{name}.new").write_text(text)
    (CONTROL / f"{name}.new").rename(CONTROL / name)


def write_checkpoint(step):
    """Sealed, in its place, and the only one there; contracts/checkpoint.py says how."""
    plan = json.loads((FOLDER / "checkpoints.json").read_text())
    files = {"weights": f"of step {step}"}
    seal = {"origin": plan["origin"], "step": step, "steps": 50, "made_with": {},
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}}  # fmt: skip
    arriving = Path(plan["place"]) / "arriving"
    arriving.mkdir()
    for name, text in {**files, "seal.json": json.dumps(seal)}.items():
        (arriving / name).write_text(text)
    arriving.rename(Path(plan["place"]) / str(step))
    say(kind="progress", step=step, steps=50, checkpoint_step=step, resumed_from_step=resumed_from())


def resumed_from():
    place = json.loads((FOLDER / "checkpoints.json").read_text())["resume_from"]
    return place and json.loads((Path(place) / "seal.json").read_text())["step"]


def stop_with_a_checkpoint(*_):
    write_checkpoint((resumed_from() or 0) + 11)
    os._exit(STOPPED_EXIT)


def die_with_trainer():
    while os.read(0, 4096):  # not sys.stdin: its lock would abort a normal exit
        pass
    os._exit(1)


def begin():
    if BEHAVIOUR in ("stubborn", "grandchild"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if BEHAVIOUR == "grandchild":
        tell("grandchild", str(subprocess.Popen(["sleep", "60"]).pid))  # ignores SIGTERM, too: it inherits that
    if BEHAVIOUR == "escapee":
        tell("grandchild", str(subprocess.Popen(["sleep", "60"], start_new_session=True).pid))
    if BEHAVIOUR.startswith("checkpoints"):
        signal.signal(signal.SIGTERM, stop_with_a_checkpoint)
    threading.Thread(target=die_with_trainer, daemon=True).start()
    tell("pid", str(os.getpid()))


def train():
    if BEHAVIOUR == "checkpoints_that_kill" and resumed_from():
        os.kill(os.getpid(), signal.SIGKILL)
    if BEHAVIOUR == "counts":  # far beyond its steps
        for step in range(1, 101):
            progress(step, 20)
            threading.Event().wait(0.01)
    elif BEHAVIOUR == "chatters":  # more than any pipe holds
        for _ in range(100):
            print("x" * 9_999, file=sys.stderr)
    elif BEHAVIOUR == "repeats":
        while not (CONTROL / "go").exists():
            progress(1, 4)
            threading.Event().wait(0.01)
    elif BEHAVIOUR == "garbage":
        print("Downloading shards:  50%|#####     |", flush=True)
        forged = json.dumps({"kind": "refused", "code": "forged", "message": "at the end of a huge line"})
        print("x" * 65536 * 9 + forged, flush=True)
        sys.stdout.buffer.write(b"\xff\xfe\n\n[]\nnull\n{}\n" + b'{"kind": "finished"}\n{"kind": "unknown"}\n')
        print('{"kind": "progress", "step": 1, "steps": 2, "loss": NaN, "more": "ignored"}', flush=True)
    elif BEHAVIOUR.startswith("checkpoints"):
        write_checkpoint((resumed_from() or 0) + 10)
    else:
        progress(1, 4)


def end():
    if BEHAVIOUR in ("refuses", "checkpoints_and_refuses"):
        say(kind="refused", code="rows_too_long", message="Every row is too long\x00, use max_length.")
        sys.exit(REFUSED_EXIT)
    if BEHAVIOUR == "dies":
        print("CUDA out of memory", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
    if BEHAVIOUR == "lies":  # a good end without a result
        sys.exit(0)
    if BEHAVIOUR == "adapterless":
        say(kind="finished", metrics={})
        sys.exit(0)
    progress(4, 4)
    finish(not_a_number=float("nan"), nul="a\x00b")


begin()
train()
wait_for("go")
end()
