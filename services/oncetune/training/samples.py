"""What the base model and the tuned one answer to a few prompts: numbers do not show whether a text is one."""

import logging
from dataclasses import dataclass

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from oncetune.contracts.training_record import ANSWER_TOKENS, Sample
from oncetune.training.held_out import Prompt, Split
from oncetune.training.refusal import Refusal
from oncetune.training.report import Report
from oncetune.training.rows import as_turns
from oncetune.training.sampling import sample

_CHARACTERS = 2000  # of each text: prompts may be as long as a context
_REASON_CHARACTERS = 300

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampled:
    """`missing` says why there are none though prompts were there."""

    samples: tuple[Sample, ...]
    missing: str | None = None


def answer_before_and_after(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, split: Split, report: Report, *, batch: int
) -> Sampled:
    """Greedy answers to the split's samples, `batch` prompts at a time; before is the model without its adapter.

    Memory that runs out (a plain RuntimeError on a CPU) and scores that are no numbers cost the samples, not the run
    that is all but finished.
    """

    def answers() -> list[str]:
        return sample(model, tokenizer, split.samples, ANSWER_TOKENS, batch=batch, answered=answered)

    answered = report.parts("sampling")
    try:
        with model.disable_adapter():
            before = answers()
        after = answers()
    except (RuntimeError, MemoryError, Refusal) as error:
        _log.warning("No samples", exc_info=True)
        return Sampled((), str(error).partition("\n")[0][:_REASON_CHARACTERS] or type(error).__name__)
    return Sampled(
        tuple(
            Sample(prompt=_cut(_readable(prompt)), before=_cut(was), after=_cut(now), held_out=bool(split.held_out))
            for prompt, was, now in zip(split.samples, before, after, strict=True)
        )
    )


def _readable(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in as_turns(prompt, "user"))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + " …"
