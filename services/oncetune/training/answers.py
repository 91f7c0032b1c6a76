"""python -m oncetune.training.answers REQUEST.json: what a base model and an adapter on it answer to the same prompts.

REQUEST.json holds base_model, adapter (a folder, or null), prompts and max_new_tokens. One JSON object goes to
standard output: {"base": [...], "tuned": [...] or null}, in the order of the prompts. Greedy, so a repeat gives the
same answers. Prompts are wrapped as in training. Exit 0, or REFUSED_EXIT with the reason on standard error.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from oncetune.child_program import take_stdout
from oncetune.contracts.progress import REFUSED_EXIT
from oncetune.training.process import model_cache, share_cores
from oncetune.training.refusal import Refusal


class Request(BaseModel):
    """What to answer, and with which model."""

    model_config = ConfigDict(extra="forbid")

    base_model: str
    adapter: Path | None = None
    prompts: Annotated[list[str], Field(min_length=1)]
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 48


def main() -> int:
    """Answer and return the exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    protocol = take_stdout()
    share_cores()
    request = Request.model_validate_json(Path(sys.argv[1]).read_bytes())
    try:
        print(json.dumps(answer(request, model_cache(os.environ))), file=protocol)
    except Refusal as refusal:
        print(f"{refusal.code}: {refusal.message}", file=sys.stderr)
        return REFUSED_EXIT
    return 0


def answer(request: Request, cache: Path) -> dict[str, list[str] | None]:
    """Answers of the base model and, where there is an adapter, of both; the weights are loaded once."""
    from oncetune.training.device import choose_device  # after the argument check: torch takes seconds to import
    from oncetune.training.model import load_model, load_tokenizer, locate_base_model
    from oncetune.training.sampling import sample

    device = choose_device()
    base = locate_base_model(request.base_model, cache)
    tokenizer = load_tokenizer(base)
    model = load_model(base, device.dtype).to(device.name)
    answers = sample(model, tokenizer, request.prompts, request.max_new_tokens)
    if request.adapter is None:
        return {"base": answers, "tuned": None}

    from peft import PeftModel

    tuned = PeftModel.from_pretrained(model, request.adapter)
    return {"base": answers, "tuned": sample(tuned, tokenizer, request.prompts, request.max_new_tokens)}


if __name__ == "__main__":
    sys.exit(main())
