"""`oncetune demo`: the whole job on this machine, asked for several times and done once.

A real model learns from real preference pairs through the real services. The demo reads like a scene: start, ask, ask
again, deliver again, follow, compare. What it claims at the end it has counted.
"""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from oncetune.cli.client import Client, Document
from oncetune.cli.dataset_files import inline_rows
from oncetune.cli.demo_report import Outcome, report
from oncetune.cli.exits import Failure
from oncetune.cli.output import put
from oncetune.cli.redelivery import Redelivery
from oncetune.cli.submit import send
from oncetune.cli.watch import follow
from oncetune.local.cluster import forget
from oncetune.local.delivery import Delivery
from oncetune.local.politeness import DEMO_HYPERPARAMETERS, HELD_OUT, TRAIN, is_polite
from oncetune.local.preflight import LOCK, CannotStart, prepare_folder, sole_user, unusable
from oncetune.local.processes import Program
from oncetune.local.signals import Signals
from oncetune.local.up import Stack, StackSettings, running_stack

MODEL = "zephyr"
COPIES_WHILE_RUNNING, COPIES_AFTER_THE_END = 3, 2
_COUNTED_WITHIN_SECONDS = 60.0
_NEW_TOKENS = 32
# As the trainer does for its child: glibc would give the large temporaries of a CPU step back to the kernel each time.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


@dataclass(frozen=True)
class Answers:
    """What the base model and the tuned one said to the same prompts."""

    prompts: Sequence[str]
    base: Sequence[str]
    tuned: Sequence[str]


def play(data: Path, *, delivery: Delivery | None, signals: Signals) -> bool:
    """Play the demo in `data`/demo, which is emptied first; True when everything that it promises held.

    Raises CannotStart, Interrupted and Failure.
    """
    began = time.monotonic()
    home = data.absolute() / "demo"
    _empty(home)
    cache = data.absolute() / "models"  # converted once, kept for the next time
    settings = StackSettings(data=home, port=0, delivery=delivery, model_cache=cache)
    put("oncetune demo: one real run, asked for several times, trained once\n")
    with running_stack(settings, signals=signals) as stack, _client(stack) as client:
        put(f"\nEverything is up at {stack.url} after {time.monotonic() - began:.0f} s.")
        put(f"The base model {MODEL} is {stack.models[MODEL]} here.")
        run_id, replay_is_same = _ask_twice(client)
        redelivery = Redelivery(stack, run_id, signals)
        redelivery.send(COPIES_WHILE_RUNNING)
        put(f"The event run.requested was delivered {COPIES_WHILE_RUNNING} more times, as brokers do.\n")
        run = follow(client, run_id, check=signals.check)
        put(f"The run is {run.get('status')}.")
        redelivery.send(COPIES_AFTER_THE_END)
        copies = COPIES_WHILE_RUNNING + COPIES_AFTER_THE_END
        trail = _trail(client, run_id, copies, signals)
        answers = _ask_both_models(stack, cache, run, home) if run.get("status") == "completed" else None
        outcome = Outcome(
            run=run,
            trail=trail,
            adapter=_adapter(run),
            adapters=len(list(stack.artifacts.glob("*/*/adapter"))),
            copies=copies,
            runs_in_ledger=redelivery.runs_in_ledger(),
            replay_is_same=replay_is_same,
            prompts=answers.prompts if answers else (),
            base=answers.base if answers else (),
            tuned=answers.tuned if answers else (),
            polite=is_polite,
        )
    return report(outcome, seconds=time.monotonic() - began)


def _empty(home: Path) -> None:
    """Forget an earlier demo; a folder that is none of ours is left alone."""
    ours = not home.exists() or (home / LOCK).exists() or not any(home.iterdir())
    if home.is_symlink() or not ours:
        raise CannotStart(
            f"The demo empties its folder, and {home} is not one of an earlier demo.", "Give --data another folder."
        )
    prepare_folder(home)
    try:
        with sole_user(home):
            forget(home)
            shutil.rmtree(home)
    except OSError as error:
        raise unusable(home, error) from error


@contextmanager
def _client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, user="demo", secret=stack.gateway_secret) as client:
        yield client


def _ask_twice(client: Client) -> tuple[str, bool]:
    """Post the bundled dataset, and the very same request again; the run, and whether the second named the first."""
    rows, _ = inline_rows(str(TRAIN))
    wanted: Document = {
        "kb_id": "demo",
        "exp_name": "politeness",
        "base_model": MODEL,
        "hyperparameters": DEMO_HYPERPARAMETERS,
        "dataset_inline": rows,
    }
    body, key = json.dumps(wanted).encode(), str(uuid.uuid4())
    first, _ = send(client, body, key)
    put(
        f"POST /trigger-finetune with {len(rows)} preference pairs: run {first.get('run_id')} is {first.get('status')}."
    )
    again, replayed = send(client, body, key)
    same = replayed and again.get("run_id") == first.get("run_id")
    put(f"The same request again, with its Idempotency-Key: {'the same run, replayed' if same else again}.")
    return str(first.get("run_id")), same


def _trail(client: Client, run_id: str, copies: int, signals: Signals) -> Document:
    """The audit trail once it is whole and every copy was counted; what there is after a minute otherwise."""
    until = time.monotonic() + _COUNTED_WITHIN_SECONDS
    while True:
        signals.check()
        trail = client.get(f"/runs/{run_id}/events")
        counted = trail.get("duplicates")
        whole = trail.get("gapless") and trail.get("pending") == 0 and isinstance(counted, int) and counted >= copies
        if whole or time.monotonic() > until:
            return trail
        time.sleep(0.2)


def _adapter(run: Document) -> Path | None:
    artifact = run.get("artifact")
    uri = artifact.get("uri") if isinstance(artifact, dict) else None
    return Path(str(uri).removeprefix("file://")) if uri else None


def _ask_both_models(stack: Stack, cache: Path, run: Document, home: Path) -> Answers:
    """Let the base model and the tuned one answer the held-out prompts, in a process with torch."""
    prompts = [json.loads(line)["prompt"] for line in HELD_OUT.read_text().splitlines()]
    put(f"Asking both models {len(prompts)} questions that were not in the dataset ...")
    request, answers = home / "questions.json", home / "answers.json"
    asked = {"base_model": stack.models[MODEL], "adapter": str(_adapter(run)), "prompts": prompts}
    request.write_text(json.dumps({**asked, "max_new_tokens": _NEW_TOKENS}))
    program = Program(
        name="answers",
        command=(sys.executable, "-P", "-m", "oncetune.training.answers", str(request)),
        environment={**os.environ, **_MALLOC, "ONCETUNE_MODEL_CACHE": str(cache)},
        stage=3,
        output=answers,
    )
    stack.processes.run(program, deadline=timedelta(minutes=10))
    try:
        said = json.loads(answers.read_bytes())
    except ValueError as error:
        raise Failure("The models gave no answers.", f"Their log is {home / 'logs' / 'answers.log'}.") from error
    return Answers(prompts, said["base"], said["tuned"])
