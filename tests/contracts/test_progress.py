"""A training child may say anything; what is kept is JSON that Postgres and every reader can hold."""

import json

import pytest
from pydantic import ValidationError

from oncetune.contracts.progress import Finished, Progress, Refused, child_line

MEASURES = (
    "loss", "reward_margin", "reward_accuracy", "logps_chosen", "learning_rate", "tokens_per_second", "seconds_left",
)  # fmt: skip


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("said", ["NaN", "Infinity", "-Infinity", "1e400", "1e20", "9007199254740994"])
def test_a_measure_that_is_no_number_for_everybody_becomes_none(measure, said):
    line = child_line.validate_json(f'{{"kind": "progress", "step": 1, "{measure}": {said}}}')
    assert getattr(line, measure) is None
    assert getattr(Progress(**{measure: float(said)}), measure) is None


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_that_is_a_number_stays_as_it_is(measure):
    for number in (0.1, -2.5e-300, 9007199254740992, -3):
        assert getattr(Progress(**{measure: number}), measure) == number


def test_what_a_child_says_at_its_end_is_made_fit_to_be_stored():
    said = b'{"kind": "finished", "metrics": {"a": NaN, "b": [1e400, {"c\\u0000": "d\\u0000e"}], "n": 3, "ok": true}}'
    line = child_line.validate_json(said)
    assert isinstance(line, Finished)
    assert line.metrics == {"a": None, "b": [None, {"c�": "d�e"}], "n": 3, "ok": True}
    json.dumps(line.metrics, allow_nan=False)
    refused = Refused(code="x", message="no \ud800 and no \x00")
    assert refused.message == "no � and no �"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Loading weights: 100%",
        b"[]",
        b'{"kind": "other"}',
        b'{"step": 1}',
        b'{"kind": "progress", "step": -1}',
        *(
            f'{{"kind": "progress", "{name}": 2147483648}}'.encode()
            for name in ("step", "steps", "resumed_from_step", "checkpoint_step")
        ),
        b'{"kind": "progress", "phase": "sleeping"}',
        b'{"kind": "finished"}',
        b'{"kind": "refused", "code": "Bad Code", "message": ""}',
        b'{"kind": "refused", "code": "x", "message": "' + b"x" * 2001 + b'"}',
    ],
)
def test_a_line_that_is_none_of_the_three_is_refused(line):
    with pytest.raises(ValidationError):
        child_line.validate_json(line)


def test_a_later_child_may_say_more():
    assert child_line.validate_json(b'{"kind": "progress", "step": 2, "energy": 7}') == Progress(step=2)
