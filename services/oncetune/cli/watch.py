"""Follow a run to its end, through restarts of the server; stopping to look never stops the run."""

import time
from collections.abc import Callable
from typing import Any

from oncetune.cli.client import Client, Document, Unreachable
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import ProgressLine
from oncetune.contracts.run import TERMINAL, RunState

_LOOK_EVERY_SECONDS = 1.0


def follow(
    client: Client, run_id: str, *, timeout: float | None = None, check: Callable[[], None] = lambda: None
) -> Document:
    """Show the run's progress on standard error until it ended; the run as it is then.

    Raises Failure: TIMEOUT after `timeout` seconds, or what the server refused. `check` is called between looks and
    may raise to stop looking.
    """
    until = time.monotonic() + timeout if timeout is not None else None
    line = ProgressLine()
    try:
        while True:
            check()
            try:
                run = client.get(f"/runs/{run_id}")
                line.show(progress_words(run))
            except Unreachable as gone:
                run = {}
                line.show(f"{gone.what}; waiting for it, the run goes on")
            if run.get("status") in TERMINAL:
                return run
            if until is not None and time.monotonic() > until:
                raise Failure(f"The run had not ended after {timeout:g} seconds; it goes on.", code=Exit.TIMEOUT)
            time.sleep(_LOOK_EVERY_SECONDS)
    finally:
        line.end()


def require_success(run: Document) -> None:
    """Raise Failure UNSUCCESSFUL unless the run is completed."""
    if run.get("status") != RunState.COMPLETED:
        error = run.get("error")
        why = f": {error.get('code')}: {error.get('message')}" if isinstance(error, dict) else ""
        raise Failure(f"The run is {run.get('status')}{why}", code=Exit.UNSUCCESSFUL)


def progress_words(run: Document) -> str:
    """Where a run is, in one line: `running  step 12/60  loss 0.412  reward margin +3.10  accuracy 100%  18 s left`."""
    told = run.get("progress")
    words = [str(run.get("status"))]
    if run.get("status") in TERMINAL or not isinstance(told, dict):
        return words[0]
    return "  ".join([*words, *_measured(told)])


def _measured(told: dict[str, Any]) -> list[str]:
    phase = str(told.get("phase", "training"))
    words = [] if phase == "training" else [phase]
    if told.get("steps"):
        words.append(f"step {told.get('step', 0)}/{told['steps']}")
    for name, form in (
        ("loss", "loss {:.3f}"),
        ("reward_margin", "reward margin {:+.2f}"),
        ("reward_accuracy", "accuracy {:.0%}"),
        ("tokens_per_second", "{:.0f} tokens/s"),
        ("seconds_left", "{:.0f} s left"),
    ):
        value = told.get(name)
        if name == "seconds_left" and phase != "training":
            continue  # it counts optimizer steps alone: 0 while answers are still sampled
        if isinstance(value, int | float):
            words.append(form.format(value))
    return words
