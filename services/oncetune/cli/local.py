"""`oncetune up` and `oncetune demo`: this machine."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import put
from oncetune.local.delivery import Delivery
from oncetune.local.guide import guide
from oncetune.local.preflight import CannotStart
from oncetune.local.signals import Interrupted, Signals
from oncetune.local.up import StackSettings, running_stack, say


def up_until_interrupted(
    data: Path, port: int, database_url: str | None, delivery: Delivery | None, minimum_free_bytes: int
) -> None:
    """Start the stack, tell what to do with it, stay."""
    settings = StackSettings(
        data=data,
        port=port,
        database_url=database_url,
        delivery=delivery,
        minimum_free_bytes=minimum_free_bytes,
    )
    with _ended_by_signals() as signals, running_stack(settings, signals=signals) as stack:
        put(guide(stack))
        while True:
            signals.check()
            time.sleep(0.1)


def play_demo(data: Path, delivery: Delivery | None) -> None:
    """Play the demo; its own words say how it went."""
    from oncetune.cli.demo import play

    with _ended_by_signals() as signals:
        passed = play(data, delivery=delivery, signals=signals)
    if not passed:
        raise Failure("The demo did not do what it promises; see above.")


@contextmanager
def _ended_by_signals() -> Iterator[Signals]:
    signals = Signals()
    try:
        with signals.heard():
            yield signals
    except Interrupted:
        say("Stopped.")
        sys.exit(Exit.INTERRUPTED)
    except CannotStart as error:
        raise Failure(error.what, error.remedy) from error
