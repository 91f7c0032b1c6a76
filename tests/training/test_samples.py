"""What is kept of a sample, and what becomes of a run that cannot answer any more."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from oncetune.training import samples as room
from oncetune.training.held_out import Split
from oncetune.training.refusal import Refusal
from oncetune.training.samples import Sampled, _cut, answer_before_and_after


def test_a_text_that_was_cut_ends_with_a_sign_of_it():
    assert _cut("x" * 2000) == "x" * 2000
    assert _cut("x" * 2001) == "x" * 2000 + " …"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't allocate memory\nat alloc_cpu.cpp"), "can't allocate memory"),
        (torch.OutOfMemoryError("x" * 1000), "x" * 300),
        (MemoryError(), "MemoryError"),
        (Refusal("non_finite_logits", "The scores are no numbers."), "The scores are no numbers."),
    ],
)
def test_a_finished_training_that_cannot_answer_goes_without_samples_and_says_why(monkeypatch, error, said):
    def fail(*_given, **_named):
        raise error

    monkeypatch.setattr(room, "sample", fail)
    model = SimpleNamespace(disable_adapter=nullcontext)
    report = SimpleNamespace(parts=lambda phase: lambda: None)
    sampled = answer_before_and_after(model, None, Split([], [], ["What?"]), report, batch=2)
    assert sampled == Sampled((), said)
