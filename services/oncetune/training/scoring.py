"""The log-probability that a model gives to answers, summed over their tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence

_NO_LABEL = -100  # positions of the prompt and of the padding


@dataclass(frozen=True)
class Sequenced:
    """A prompt and one answer to it, as ids."""

    prompt: list[int]
    answer: list[int]


def score(model: PeftModel, sequences: Sequence[Sequenced], *, batch: int, scored: Callable[[], None]) -> list[float]:
    """ln p(answer | prompt) of each sequence, in nats, in order; `scored` is called after every batch.

    `model` is as DPOTrainer prepared it: its fused head makes logits for answer tokens only, a tile at a time, so the
    numbers are those of training and a batch of training's size fits. It draws no random number, and leaves the model
    in the mode that it found. Sequences of like length share a batch: little is padding.
    """
    order = sorted(range(len(sequences)), key=lambda place: _length(sequences[place]))
    sums = [0.0] * len(sequences)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            for place, total in zip(places, _sums(model, [sequences[place] for place in places]), strict=True):
                sums[place] = total
            scored()
    finally:
        model.train(was_training)
    return sums


def _length(sequence: Sequenced) -> int:
    return len(sequence.prompt) + len(sequence.answer)


def _sums(model: PeftModel, sequences: Sequence[Sequenced]) -> list[float]:
    ids = [torch.tensor(sequence.prompt + sequence.answer) for sequence in sequences]
    labels = [torch.tensor([_NO_LABEL] * len(sequence.prompt) + sequence.answer) for sequence in sequences]
    with torch.no_grad():
        told = model(
            input_ids=pad_sequence(ids, batch_first=True).to(model.device),
            attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True).to(model.device),
            labels=pad_sequence(labels, batch_first=True, padding_value=_NO_LABEL).to(model.device),
            fused_lm_head=True,
        )
    totals: list[float] = told.log_probs.double().sum(dim=1).tolist()
    return totals
