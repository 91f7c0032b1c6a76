"""Which words of a child count as getting further: no others keep it alive."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import create_engine

from oncetune.contracts.progress import Progress
from oncetune.ledger.leases import Lease
from oncetune.trainer import heartbeat

EVALUATING = Progress(phase="evaluating", step=20, steps=60, part=1)


@pytest.mark.parametrize(
    ("change", "further"),
    [
        ({}, False),
        ({"loss": 0.5, "checkpoint_step": 20}, False),
        ({"part": 2}, True),
        ({"step": 21}, True),
        ({"phase": "training"}, True),
    ],
)
def test_another_step_phase_or_evaluated_batch_is_progress_and_the_same_again_is_none(monkeypatch, change, further):
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(heartbeat, "time", clock)
    lease = Lease(uuid4(), 1, 0, {}, datetime.now(UTC), None)
    beats = heartbeat.Heartbeat(create_engine("sqlite://"), lease, every=timedelta(1), patience=timedelta(1))
    beats.tell(EVALUATING)
    clock.monotonic = lambda: 107.0
    beats.tell(EVALUATING.model_copy(update=change))
    assert beats.still_for == (0.0 if further else 7.0)
