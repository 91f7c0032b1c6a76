"""Greedy answers in batches."""

from collections.abc import Callable, Sequence

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from oncetune.contracts.preferences import Message
from oncetune.training.refusal import Refusal
from oncetune.training.rows import prompt_ids

_BATCH = 32  # prompts


class _Finite(LogitsProcessor):
    """Refuses scores that are no numbers: a greedy choice among them would be id 0, said without a word."""

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.isnan().any():
            raise Refusal("non_finite_logits", "The model's scores are no numbers: its weights or its precision broke.")
        return scores


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Sequence[Message]],
    max_new_tokens: int,
    *,
    batch: int = _BATCH,
    answered: Callable[[], None] = lambda: None,
) -> list[str]:
    """One answer a prompt, in order, without special tokens; each ends at an end-of-sequence token or the limit.

    `model` may be a PeftModel: it generates in the same way. `answered` is called after each batch of prompts. Raises
    Refusal for scores that are no numbers.
    """
    tokenizer.padding_side = "left"  # the last id of every row must be the prompt's last
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model.eval()
    answers: list[str] = []
    for start in range(0, len(prompts), batch):
        ids = [prompt_ids(prompt, tokenizer) for prompt in prompts[start : start + batch]]
        inputs = tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            written = model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([_Finite()]),
            )
        continuation = written[:, inputs["input_ids"].shape[1] :]
        answers += [text.strip() for text in tokenizer.batch_decode(continuation, skip_special_tokens=True)]
        answered()
    return answers
