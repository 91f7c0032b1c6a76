"""A short, seeded case of each fault from below. What needs root is not offered to others; CI has it."""

import pytest

from tests.chaos.below import ANYWHERE, PRIVILEGED
from tests.chaos.conftest import Trial
from tests.chaos.faults import Fault
from tests.chaos.ground import may_break_the_ground
from tests.chaos.under_load import storm

SEED = 7
OFFERED = ANYWHERE + PRIVILEGED * may_break_the_ground()


@pytest.mark.parametrize("fault", OFFERED, ids=lambda fault: fault.__name__)
def test_this_fault_under_load_loses_nothing_and_doubles_nothing(trial: Trial, fault: Fault):
    told = storm(trial.world, trial.client, trial.judge, (fault,), seed=SEED, seconds=0)

    assert trial.judge.judge() == []
    assert told.answers["accepted"] > 3
