"""What a training child says to its trainer: one JSON object a line on standard output, nothing else.

The child is started as `python -m oncetune.training FOLDER`. FOLDER holds `recipe.json` (a TrainingRecipe) and
`dataset.jsonl` (PreferencePairs); the child writes the adapter to FOLDER/adapter/. Standard input stays open
while the trainer lives: at its end the child exits. Last line is a Finished (exit 0) or a Refused (exit 3), which holds
even if the child then hangs and has to be ended; exit 4 says that SIGTERM ended it at a step border, with a checkpoint
if there is a plan for any (contracts/checkpoint.py); any other end, and exit 4 without a SIGTERM, is a death of the
child.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter

RECIPE, ROWS = "recipe.json", "dataset.jsonl"
REFUSED_EXIT = 3
STOPPED_EXIT = 4
_EXACT = 2**53  # beyond it a double is no longer one integer: jsonb, Go's JSON and Python's spell it differently
_NOT_FOR_POSTGRES = re.compile("[\x00\ud800-\udfff]")


def _finite(number: Any) -> Any:
    """A number that JSON, Postgres and Dapr keep as it is: NaN, infinities and what is beyond 2^53 become None."""
    return None if isinstance(number, int | float) and not abs(number) <= _EXACT else number


def keepable(value: Any) -> Any:
    """The same value as JSON that Postgres holds: U+0000 and lone surrogates become U+FFFD, numbers as `_finite`."""
    if isinstance(value, str):
        return _NOT_FOR_POSTGRES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {keepable(name): keepable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [keepable(member) for member in value]
    return _finite(value)


Step = Annotated[int, Field(le=2**31 - 1)]  # the ledger keeps it as an integer of four bytes
Measured = Annotated[float | None, BeforeValidator(_finite)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_Line):
    """Where the attempt is. Steps are optimizer steps; means are over the last logged step."""

    kind: Literal["progress"] = "progress"
    phase: Literal["fetching", "checking", "loading", "evaluating", "training", "sampling", "saving"] = "training"
    part: int = 0  # of the phase within this step: batches that were evaluated or answered
    step: Annotated[Step, Field(ge=0)] = 0
    steps: Annotated[Step, Field(ge=0)] = 0
    loss: Measured = None
    reward_margin: Measured = None  # chosen minus rejected
    reward_accuracy: Measured = None  # share of pairs with a positive margin
    logps_chosen: Measured = None
    learning_rate: Measured = None
    tokens_per_second: Measured = None
    seconds_left: Measured = None
    resumed_from_step: Annotated[Step | None, Field(ge=1)] = None  # the steps up to it were made by earlier attempts
    checkpoint_step: Annotated[Step | None, Field(ge=1)] = None  # the newest sealed checkpoint


class Finished(_Line):
    """The adapter lies complete in FOLDER/adapter/ and was loaded once to prove that it loads."""

    kind: Literal["finished"] = "finished"
    metrics: Annotated[dict[str, JsonValue], BeforeValidator(keepable)]  # finite numbers and short words only


class Refused(_Line):
    """This recipe cannot succeed, on any attempt: the run fails at once with this code and sentence."""

    kind: Literal["refused"] = "refused"
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    message: Annotated[str, Field(max_length=2000), BeforeValidator(keepable)]


ChildLine = Annotated[Progress | Finished | Refused, Field(discriminator="kind")]
child_line: TypeAdapter[Progress | Finished | Refused] = TypeAdapter(ChildLine)
